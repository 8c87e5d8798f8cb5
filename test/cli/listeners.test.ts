/** Addresses of the gateway daemon that other programs have: the built program and real sockets. */
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { connect, createServer } from 'node:net';
import path from 'node:path';
import { expect } from 'vitest';
import { requireThat } from '../requirements.ts';
import { freePort } from '../support/free-port.ts';
import { NbdClient } from '../soak/served/nbd-client.ts';
import { HomeRig } from './gateway-rig.ts';
import { ROOT } from './run-verb.ts';

const TIMEOUT = 120_000;
const { it } = requireThat(existsSync(path.join(ROOT, 'dist/core/cli/main.js')), 'sgw is not built: run npm run build');

it(
  'a gateway starts without the addresses that others have, tells so, and takes them when they are free',
  async () => {
    await using rig = await HomeRig.activated();
    const [portal, nbd] = [await freePort(), await freePort()];
    const place = (port: number): string => `127.0.0.1:${String(port)}`;
    await rig.ok('configure', '--iscsi-listen', `tcp:${place(portal)}`, '--listen', `tcp:${place(nbd)}`);
    await rig.ok('gateway', 'start');
    for (const name of ['a', 'b']) await rig.ok('volume', 'create', name, '--size', '1MiB');
    await rig.ok('volume', 'attach', 'a', '--protocol', 'nbd,iscsi');
    await rig.ok('gateway', 'stop');
    const others = await Promise.all([portal, nbd].map(occupy));
    await rig.ok('gateway', 'start');
    const { remarks } = (await rig.ok('status')) as { remarks: string[] };
    const inUse = (protocol: string, port: number): string =>
      `${protocol} is not served at ${place(port)} yet: ${place(port)} is in use by another program. It is tried again`;
    expect(remarks.join('\n')).toContain(inUse('iSCSI', portal));
    expect(remarks.join('\n')).toContain(inUse('NBD', nbd));
    const doctor = await rig.run(['doctor', '--json']);
    expect(doctor.exitCode).toBe(5);
    expect(doctor.stdout).toContain(`"name": "listening at ${place(portal)}"`);
    expect(readFileSync(path.join(rig.home, 'logs', 'gateway.log'), 'utf8')).toContain('can not listen there yet');
    // The socket in the home is there, and what cannot be reached at all is not attached.
    const client = await NbdClient.connect(path.join(rig.home, 'nbd.sock'), 'a');
    client.close();
    expect(await rig.failure('volume', 'attach', 'b', '--protocol', 'iscsi')).toMatchObject({
      code: 'address-in-use',
    });
    await rig.ok('configure', '--read-ahead', '1MiB');
    for (const other of others) await other();
    await expect.poll(async () => reaches(portal), { timeout: 20_000, interval: 200 }).toBe(true);
    await expect.poll(async () => reaches(nbd), { timeout: 20_000, interval: 200 }).toBe(true);
    const after = (await rig.ok('status')) as { remarks: string[]; exports: { uris: string[] }[] };
    expect(after.remarks.join()).not.toContain('not served');
    expect(after.exports[0]?.uris.join()).toContain(place(portal));
    await rig.ok('volume', 'attach', 'b', '--protocol', 'iscsi');
  },
  TIMEOUT,
);

/** Listens at a port, until what is returned is called. */
async function occupy(port: number): Promise<() => Promise<void>> {
  const server = createServer();
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  return async () => {
    server.close();
    await once(server, 'close');
  };
}

async function reaches(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  return await new Promise((resolve) => {
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', () => {
      resolve(false);
    });
  });
}
