/** The command line on another machine than the gateway: every verb through the service, by --gateway. */
import { writeFile } from 'node:fs/promises';
import path from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openState } from '../../src/core/state/index.ts';
import type { ControlPlane } from '../../src/core/service/controlplane/index.ts';
import { runVerb, type Outcome } from '../cli/run-verb.ts';
import type { LiveService } from '../support/live-service.ts';
import { ManagedHome, startManagedService, type Customer } from '../support/control/managed-home.ts';
import { until } from '../support/control/network.ts';

let live: LiveService;
let plane: ControlPlane;
let anna: Customer;
let managed: ManagedHome;
let gatewayId: string;

beforeAll(async () => {
  ({ live, plane } = await startManagedService());
  anna = await live.account('anna');
  managed = await ManagedHome.activate(live, anna, 'lab');
  await managed.start();
  gatewayId = (await openState(managed.home)).gateway?.gatewayId ?? '';
  await until(() => plane.connections === 1, 'the daemon has connected');
});
afterAll(async () => {
  await managed[Symbol.asyncDispose]();
  await plane.close(0);
  await live[Symbol.asyncDispose]();
});

/** Runs a verb from elsewhere: `gateway` is an id or a name. */
async function far(verb: string, words: readonly string[] = [], gateway = gatewayId): Promise<Outcome> {
  const { accessKeyId, secretAccessKey } = anna.accessKey;
  const who = ['--service', live.url, '--service-fingerprint', live.fingerprint, '--access-key-id', accessKeyId];
  const env = { SGW_SECRET_ACCESS_KEY: secretAccessKey };
  return await runVerb(verb, [...words, '--gateway', gateway, ...who], { env });
}

const errorOf = (outcome: Outcome): unknown => (outcome.document()['error'] as { readonly code: string }).code;

describe('the command line from afar', () => {
  it('works on the gateway that is named, by its id or its name', async () => {
    expect((await far('volume create', ['db', '--size', '1MiB'])).exitCode).toBe(0);
    const byName = await far('volume list', ['--json'], 'lab');
    expect(byName.document()).toMatchObject({ volumes: [{ name: 'db' }] });
    expect((await far('volume attach', ['db'])).exitCode).toBe(0);
    expect((await far('snapshot create', ['db', '--name', 'v1', '--wait'])).exitCode).toBe(0);
    expect((await far('snapshot list')).stdout).toContain('v1');
    expect((await far('schedule set', ['db', '--every', '1h'])).exitCode).toBe(0);
    expect((await far('status')).stdout).toContain('lab');
    expect((await far('doctor', ['--json'])).document()).toBeDefined();
    // The home of this machine was not looked at.
    expect((await far('status')).calls).toEqual([]);
  });

  it('shows the gateway, its log, and what it does', async () => {
    const shown = await far('gateway show');
    expect(shown.stdout).toMatch(/connection: +to https:\/\/127\.0\.0\.1:\d+ since/);
    const logs = await far('gateway logs', ['--lines', '500']);
    expect(logs.stdout).toContain('connected to the service');
    const top = await far('gateway top', ['--once', '--interval', '100ms', '--json']);
    expect(JSON.parse(top.stdout.trim())).toMatchObject({ volumes: [{ name: 'db' }] });
  });

  it('takes paths of the gateway’s machine, whole ones alone, and says whose they are', async () => {
    const image = path.join(managed.folder, 'image.raw');
    await writeFile(image, Buffer.alloc(1 << 20, 7));
    const imported = await far('volume import', [image, '--name', 'imported']);
    expect(imported).toMatchObject({ exitCode: 0 });
    expect(imported.stderr).toContain("on the gateway's machine");
    for (const [verb, words] of [
      ['volume import', ['image.raw', '--name', 'x']],
      ['snapshot import', ['image.raw', '--name', 'x']],
      ['snapshot export', ['v1', 'out.img']],
      ['configure', ['--tls-certificate', 'cert.pem']],
    ] as const)
      expect(errorOf(await far(verb, [...words, '--json']))).toBe('path-not-absolute');
    const out = path.join(managed.folder, 'out.img');
    expect((await far('snapshot export', ['v1', out])).exitCode).toBe(0);
    expect(errorOf(await far('snapshot export', ['v1', out, '--json']))).toBe('file-exists');
  });

  it('refuses what is for whoever is at the machine', async () => {
    for (const verb of ['gateway start', 'gateway restart', 'activate', 'deactivate', 'demo'])
      expect(errorOf(await far(verb, ['--json']))).toBe('not-from-afar');
    expect(errorOf(await far('configure', ['--remote-management', 'off', '--json']))).toBe('not-from-afar');
    expect(errorOf(await far('volume list', ['--store', '/somewhere', '--json']))).toBe('one-of');
  });

  it('names a gateway that is not there, and one that is not connected', async () => {
    expect(errorOf(await far('volume list', ['--json'], 'nobody'))).toBe('gateway-not-found');
    expect(errorOf(await far('volume list', ['--json'], 'sgw-0badf00d'))).toBe('gateway-not-found');
    expect((await far('gateway stop', ['--no-drain'])).exitCode).toBe(0);
    await managed.ended();
    await until(() => plane.connections === 0, 'gone');
    const gone = await far('volume list', ['--json']);
    expect(errorOf(gone)).toBe('gateway-not-connected');
    expect(gone.exitCode).toBe(5);
  });
});
