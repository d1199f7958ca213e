// A server on the socket that it was started with, by systemd's protocol.
const http = require('http')

const { LISTEN_FDS, LISTEN_FDS_FIRST_FD = '3', LISTEN_PID } = process.env
if (LISTEN_FDS !== '1') throw new Error(`LISTEN_FDS is ${LISTEN_FDS}`)
if (LISTEN_PID && Number(LISTEN_PID) !== process.pid) throw new Error('LISTEN_PID means another process')

const server = http.createServer((request, response) => {
  response.end(`pid=${process.pid} node\n`)
})
server.listen({ fd: Number(LISTEN_FDS_FIRST_FD) })
process.on('SIGTERM', () => server.close())
