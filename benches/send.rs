//! The sending path: messages to frames to a batch that is written.

use std::hint::black_box;

use bytes::{Buf, Bytes};
use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use fullduplex::{
    Config, Role,
    proto::{Batch, Buffers, Header, MaskKey, Opcode, SendPath},
};

const SIZES: [usize; 6] = [0, 16, 128, 1 << 10, 16 << 10, 1 << 20];
const KEY: [u8; 4] = [0x37, 0xFA, 0x21, 0x3D];

fn header_encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("header_encode");
    for payload_len in [5, 1 << 10, 1 << 20] {
        let mut header = Header::new(Opcode::Text, payload_len);
        header.mask = Some(MaskKey::from(KEY));
        group.bench_function(BenchmarkId::from_parameter(payload_len), |b| {
            b.iter(|| black_box(&header).encode());
        });
    }
}

/// Measures one message that is queued, staged and written.
fn send(c: &mut Criterion) {
    let mut group = c.benchmark_group("send");
    for role in [Role::Server, Role::Client] {
        for size in SIZES {
            let payload = Bytes::from(vec![0x55; size]);
            let (mut path, mut buffers, mut batch) =
                (SendPath::new(role, &Config::new()), Buffers::new(), Batch::new());
            group.throughput(Throughput::Bytes(size as u64));
            group.bench_function(BenchmarkId::new(format!("{role:?}"), size), |b| {
                b.iter(|| {
                    path.send(payload.clone().into(), MaskKey::from(KEY), &mut buffers).expect("open");
                    path.stage(&mut batch, &mut buffers);
                    black_box(batch.chunk());
                    batch.advance(batch.remaining());
                });
            });
        }
    }
}

criterion_group!(benches, header_encode, send);
criterion_main!(benches);
