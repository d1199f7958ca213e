// An HTTP server on node: it answers with what it is sent.
'use strict';
const http = require('http');

const server = http.createServer((req, res) => {
  const parts = [];
  req.on('data', (part) => parts.push(part));
  req.on('end', () => {
    const body = Buffer.concat(parts);
    res.writeHead(200, { 'Content-Length': body.length, 'X-Pid': String(process.pid) });
    res.end(body);
  });
});
server.listen({ fd: 3 });
process.on('SIGTERM', () => server.close());
