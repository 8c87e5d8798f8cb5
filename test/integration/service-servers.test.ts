/** Two servers of a service over one store, as processes with a NATS server between them: one is killed, and a gateway goes on. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import path from 'node:path';
import { expect } from 'vitest';
import { HomeRig } from '../cli/gateway-rig.ts';
import { requireTool, toolPath } from '../requirements.ts';
import { freePort } from '../support/free-port.ts';
import { ServiceProcess, ShownDevice } from '../support/service-process.ts';

const { it } = requireTool('nats-server');

async function isListening(port: number): Promise<boolean> {
  const socket = connect(port, '127.0.0.1');
  try {
    await once(socket, 'connect');
    return true;
  } catch {
    return false;
  } finally {
    socket.destroy();
  }
}

it('a gateway whose server is killed is operated through the other one, and has its store by it', async () => {
  await using provider = new HomeRig('service');
  await using home = new HomeRig('gateway');
  const port = await freePort();
  const store = path.join(provider.folder, 'nats');
  const nats = spawn(toolPath('nats-server') ?? '', ['-js', '-sd', store, '-a', '127.0.0.1', '-p', String(port)]);
  try {
    await expect.poll(async () => isListening(port), { timeout: 20_000 }).toBe(true);
    const flags = ['--nats', `nats://127.0.0.1:${String(port)}`];
    const first = await ServiceProcess.start(provider, { flags });
    const second = await ServiceProcess.start(provider, { flags });
    const anna = await first.customer('anna');
    const device = await ShownDevice.show(home, first);
    // Claimed at the server that the device did not go to.
    const claimed = await provider.okWith(second.as(anna), 'service', 'activate', device.activationKey, '--yes');
    await device.activated();
    await home.ok('gateway', 'start');
    const gateway = ['--gateway', String(claimed['gatewayId'])];
    const far = async (...words: string[]): Promise<Record<string, unknown>> =>
      await provider.okWith(second.as(anna), ...words, ...gateway);
    const isReached = async (): Promise<boolean> =>
      (await provider.run(['gateway', 'show', ...gateway, '--json'], second.as(anna))).exitCode === 0;
    await expect.poll(isReached, { timeout: 30_000 }).toBe(true);
    await far('volume', 'create', 'db', '--size', '8MiB', '--attach');
    await first.kill();
    await expect.poll(isReached, { timeout: 60_000, interval: 500 }).toBe(true);
    expect(await far('snapshot', 'create', 'db', '--name', 'v1', '--wait')).toMatchObject({ state: 'completed' });
    // Also a command that opens the store itself, at the address of its activation, which nobody answers at.
    await home.ok('gateway', 'stop');
    expect(await home.ok('snapshot', 'list')).toMatchObject({ snapshots: [{ name: 'v1', state: 'completed' }] });
  } finally {
    nats.kill('SIGKILL');
  }
}, 180_000);
