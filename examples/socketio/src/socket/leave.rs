//! How the server ends the sockets of a client.

use super::handle::Socket;

impl Socket {
    /// Disconnects all sockets of the client, of this and of other namespaces, as
    /// [`disconnect`](Self::disconnect) does, and closes its connection.
    ///
    /// Clients do not connect again by themselves, because the server has disconnected them.
    ///
    /// # Cancel safety
    /// If the future is dropped, some of the sockets may be disconnected, and the connection may stay open.
    pub async fn close(&self) {
        let shared = self.shared();
        for socket in shared.sockets() {
            socket.disconnect().await;
        }
        // The packets of the disconnections precede it.
        shared.close();
    }
}
