//! One case: a server, two nodes, and the load.

use anyhow::Result;

use crate::{
    crowd::Crowd,
    highest,
    meter::{Meter, Sample},
    node::Node,
    paced::{self, Paced},
    redis_server::RedisServer,
    settings::{Case, Place, Settings},
};

/// What was measured of a case.
#[derive(Debug)]
pub struct Figures {
    pub case: Case,
    pub highest: Sample,
    /// Latencies at the modest rate, and at half of the highest one.
    pub paced: Vec<Paced>,
    /// The messages of the case. All have arrived at all members, once and in order.
    pub messages: u64,
}

/// Measures a case, with a server and nodes of its own.
///
/// # Errors
/// Fails if a message is missing, arrives twice, or not in order.
pub async fn measure(case: Case, settings: &Settings) -> Result<Figures> {
    let server = RedisServer::start(case.durability)?;
    let nodes = [Node::start(&server.url())?, Node::start(&server.url())?];
    let meter = Meter { redis: server.pid(), nodes: [nodes[0].pid(), nodes[1].pid()] };
    let mut crowd = Crowd::open(case, &nodes, settings).await?;
    let highest = highest::measure(&mut crowd, &meter, settings).await?;
    let mut paced = Vec::new();
    // Members on both nodes show what a further node costs, for which latency does not matter.
    if case.place != Place::Both {
        for rate in [settings.modest.min(highest.rate / 2.0), highest.rate / 2.0] {
            paced.push(paced::measure(&mut crowd, rate, settings.paced).await?);
        }
    }
    Ok(Figures { case, highest, paced, messages: crowd.lanes.sent() })
}
