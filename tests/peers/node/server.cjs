// A peer of the client under test: `node server.cjs SCENARIO OPTIONS`, with the options of
// compression as JSON. Prints its address, then one JSON object for each event. The scenarios are those of
// `peers.py`.
'use strict';
const { WebSocketServer } = require('ws');

const print = (event) => console.log(JSON.stringify(event));

const scenarios = {
  echo: (socket) => socket.on('message', (data, isBinary) => socket.send(data, { binary: isBinary })),
  acknowledge: (socket) =>
    socket.on('message', (data, isBinary) => socket.send(`${isBinary ? 'binary' : 'text'} ${data.length}`)),
  close: (socket) => socket.once('message', () => socket.close(4001, 'that is enough')),
  vanish: (socket) => socket.once('message', () => socket.terminate()),
  fragments(socket) {
    socket.on('pong', (payload) => {
      if (payload.toString() !== 'between') return;
      socket.send('drei', { fin: true });
      socket.send('the pong came');
    });
    socket.send('one, ', { fin: false });
    socket.ping('between');
    socket.send('zwei, ', { fin: false });
  },
  bomb: (socket) => socket.send(Buffer.alloc(65 << 20)),
};

const server = new WebSocketServer({
  host: '127.0.0.1',
  port: 0,
  maxPayload: 0,
  perMessageDeflate: JSON.parse(process.argv[3]),
  handleProtocols: (offered) => (offered.has('chat.v1') ? 'chat.v1' : false),
});

server.on('connection', (socket, request) => {
  print({ event: 'open', headers: request.headers, subprotocol: socket.protocol || null });
  socket.on('message', (data, binary) => print({ event: 'message', binary, length: data.length }));
  socket.on('ping', (payload) => print({ event: 'ping', payload: payload.toString() }));
  // The end of the client may interrupt what is still being sent.
  socket.on('error', (error) => print({ event: 'error', message: error.message }));
  socket.on('close', (code, reason) => print({ event: 'close', code, reason: reason.toString() }));
  scenarios[process.argv[2]](socket);
});

server.on('listening', () => console.log(`listening on ws://127.0.0.1:${server.address().port}`));
