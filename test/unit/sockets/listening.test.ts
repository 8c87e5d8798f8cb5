import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { expect, test } from 'vitest';
import { Listening } from '../../../src/core/sockets/index.ts';

const HOME = { kind: 'tcp', host: '127.0.0.1', port: 0 } as const;

test('an address that is not listened at any more keeps those who came there, and is free for others', async () => {
  const accepted: Socket[] = [];
  const listening = new Listening((socket) => {
    accepted.push(socket);
    socket.resume();
  }, '--listen tcp:127.0.0.1:PORT');
  const address = await listening.listen(HOME);
  if (address.kind !== 'tcp') throw new Error('it listens at TCP');
  const client = connect(address.port, address.host);
  await once(client, 'connect');
  while (accepted.length === 0) await new Promise(setImmediate);
  await listening.unlisten(address);
  expect(listening.addresses).toEqual([]);
  const refused = connect(address.port, address.host);
  const [error] = (await once(refused, 'error')) as [NodeJS.ErrnoException];
  expect(error.code).toBe('ECONNREFUSED');
  expect(await listening.listen(address)).toEqual(address);
  accepted[0]?.write('still here');
  expect(String(((await once(client, 'data')) as [Buffer])[0])).toBe('still here');
  client.destroy();
  await listening.close();
});

test('an address that is taken is unavailable, and the hint says how to choose another', async () => {
  const first = new Listening(() => undefined, '--listen A');
  const address = await first.listen(HOME);
  const second = new Listening(() => undefined, '--listen B');
  await expect(second.listen(address)).rejects.toMatchObject({
    code: 'address-in-use',
    hint: 'Stop that one, or choose another address: sgw configure --listen B',
  });
  await first.close();
});
