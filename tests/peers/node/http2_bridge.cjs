// Accepts WebSocket connections over HTTP/1.1, and opens each as a stream of HTTP/2 (RFC 8441), by
// Node's own HTTP/2: the frames pass through unchanged, in both directions.
//
//   node http2_bridge.cjs http://127.0.0.1:PORT
//
// Prints its address, and then one line for each stream.
'use strict'

const crypto = require('node:crypto')
const http = require('node:http')
const http2 = require('node:http2')

const [target] = process.argv.slice(2)
// Windows of the size that browsers use.
const session = http2.connect(target, { settings: { initialWindowSize: 6 << 20 } })
session.on('error', (error) => {
  console.error(error)
  process.exit(1)
})
session.once('remoteSettings', (settings) => {
  if (!settings.enableConnectProtocol) {
    console.error('the server does not allow WebSocket over HTTP/2')
    process.exit(1)
  }
  session.setLocalWindowSize(64 << 20)
  listen()
})

function listen() {
  const server = http.createServer((_, response) => response.writeHead(426).end())
  server.on('upgrade', (request, socket, head) => {
    socket.setNoDelay(true)
    const { headers } = request
    const open = { ':method': 'CONNECT', ':protocol': 'websocket', ':path': request.url, ':scheme': 'http' }
    for (const name of Object.keys(headers)) {
      if (/^sec-websocket-(version|protocol|extensions)$/.test(name)) open[name] = headers[name]
    }
    const stream = session.request(open)
    const gone = () => socket.destroy()
    stream.on('error', gone)
    socket.on('error', () => stream.close(http2.constants.NGHTTP2_CANCEL))
    stream.once('response', (answer) => {
      console.log(`stream ${stream.id}: ${answer[':status']}`)
      if (answer[':status'] !== 200) {
        socket.end(`HTTP/1.1 ${answer[':status']} Refused\r\nContent-Length: 0\r\n\r\n`)
        return
      }
      const accept = crypto
        .createHash('sha1')
        .update(headers['sec-websocket-key'] + '258EAFA5-E914-47DA-95CA-C5AB0DC85B11')
        .digest('base64')
      let reply = `HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n`
      for (const name of ['sec-websocket-protocol', 'sec-websocket-extensions']) {
        if (answer[name]) reply += `${name}: ${answer[name]}\r\n`
      }
      socket.write(reply + '\r\n')
      if (head.length > 0) stream.write(head)
      socket.pipe(stream)
      stream.pipe(socket)
    })
    stream.on('close', () => socket.end())
  })
  server.listen(0, '127.0.0.1', () => console.log(`listening on ws://127.0.0.1:${server.address().port}`))
}
