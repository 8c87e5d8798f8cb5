/** What one connection answers, until its socket has sent it. */
import { once } from 'node:events';
import { connect, createServer, type AddressInfo, type Socket } from 'node:net';
import { describe, expect, it } from 'vitest';
import { BufferPool, InFlight, Output } from '../../../src/core/sockets/index.ts';
import { MIB } from '../../../src/core/kit/index.ts';

describe('what was not sent yet', () => {
  it('is counted until the other side takes it, or the socket is destroyed', async () => {
    const accepted = Promise.withResolvers<Socket>();
    const server = createServer((socket) => {
      accepted.resolve(socket);
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    const client = connect((server.address() as AddressInfo).port, '127.0.0.1').pause();
    const socket = await accepted.promise;
    socket.on('error', () => undefined);
    const unsent = new InFlight(MIB);
    const output = new Output(socket, new BufferPool(), unsent);
    const send = (): void => {
      for (let i = 0; i < 32; i++) output.keep(output.reserve(MIB));
      output.flush();
    };
    send();
    expect(unsent.hasRoom).toBe(false);
    client.resume();
    while (socket.writableLength > 0) await once(client, 'data');
    expect(unsent.hasRoom).toBe(true);
    client.pause();
    send();
    expect(unsent.hasRoom).toBe(false);
    socket.destroy();
    await once(socket, 'close');
    expect(unsent.hasRoom).toBe(true);
    client.destroy();
    server.close();
  });
});
