import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import type { SgwError } from '../../../src/core/kit/index.ts';
import type { Input, OperationName } from '../../../src/core/localapi/index.ts';
import { GatewayRig } from '../gateway/rig.ts';

let rig: GatewayRig;
beforeAll(async () => {
  rig = await GatewayRig.start();
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

const LONG = 'x'.repeat(129);
const IQN = 'iqn.2026-11.org.example:disk';
const S1 = 'kumquat-7f3a-1';
const S2 = 'persimmon-0b55';
const chap = (secret: string, ofTarget: string): object => ({
  chap: { user: 'host', secret },
  chapTarget: { user: 'sgw', secret: ofTarget },
});

describe('handlers refuse bad input before any work', () => {
  const rows: readonly (readonly [OperationName, object, string])[] = [
    ['activate', { name: '', mode: 'cached' }, 'bad-name'],
    ['activate', { name: 'a', mode: 'mirror' }, 'bad-mode'],
    ['activate', { name: 'a', mode: 'cached', region: 'A B' }, 'bad-region'],
    ['activate', { name: 'a', mode: 'cached', store: '' }, 'bad-path'],
    ['configure', { name: '-a' }, 'bad-name'],
    ['configure', { mode: 'mirror' }, 'bad-mode'],
    ['configure', { tls: 'maybe' }, 'bad-setting'],
    ['configure', { listen: ['udp:1'] }, 'bad-listener'],
    ['configure', { listen: ['tcp:localhost:70000'] }, 'bad-listener'],
    ['configure', { listen: ['unix:relative'] }, 'bad-listener'],
    ['configure', { listen: ['unix:/a', 'unix:/b'] }, 'bad-listener'],
    ['configure', { listen: [`unix:/${'x'.repeat(107)}`] }, 'bad-listener'],
    ['configure', { cacheBytes: -1 }, 'bad-setting'],
    ['configure', { bufferBytes: 1 }, 'bad-setting'],
    ['configure', { sealIntervalMs: 1 }, 'bad-setting'],
    ['configure', { defaultExport: 'a b' }, 'bad-name'],
    ['configure', { tls: 'on' }, 'bad-tls'],
    ['volume.attach', { volume: '' }, 'bad-reference'],
    ['volume.attach', { volume: 'a', ack: 'disk' }, 'bad-ack'],
    ['volume.attach', { volume: 'a', exportName: 'a/b' }, 'bad-name'],
    ['volume.attach', { volume: 'a', protocols: ['smb'] }, 'bad-protocol'],
    ['volume.attach', { volume: 'a', protocols: [] }, 'bad-protocol'],
    ['volume.attach', { volume: 'a', iscsi: {} }, 'attach-options'],
    ['volume.attach', { volume: 'a', protocols: ['iscsi'], iscsi: { targetName: 'iqn.disk' } }, 'bad-iscsi-name'],
    ['volume.attach', { volume: 'a', protocols: ['iscsi'], iscsi: { targetName: `${IQN}_1` } }, 'bad-iscsi-name'],
    [
      'volume.attach',
      { volume: 'a', protocols: ['iscsi'], iscsi: { targetName: IQN + LONG + LONG } },
      'bad-iscsi-name',
    ],
    ['volume.attach', { volume: 'a', protocols: ['iscsi'], iscsi: { initiators: ['host'] } }, 'bad-iscsi-name'],
    [
      'volume.attach',
      { volume: 'a', protocols: ['iscsi'], iscsi: { initiators: Array(65).fill(IQN) } },
      'bad-iscsi-name',
    ],
    [
      'volume.attach',
      { volume: 'a', protocols: ['iscsi'], iscsi: { chap: { user: 'a b', secret: S1 } } },
      'bad-chap-user',
    ],
    ['volume.attach', { volume: 'a', protocols: ['iscsi'], iscsi: { chap: { user: 'u' } } }, 'bad-chap-secret'],
    ['volume.attach', { volume: 'a', protocols: ['iscsi'], iscsi: { chap: { secret: S1 } } }, 'bad-chap-user'],
    ['volume.attach', { volume: 'a', protocols: ['iscsi'], iscsi: chap('eleven-byte', S2) }, 'bad-chap-secret'],
    ['volume.attach', { volume: 'a', protocols: ['iscsi'], iscsi: chap('x'.repeat(256), S2) }, 'bad-chap-secret'],
    ['volume.attach', { volume: 'a', protocols: ['iscsi'], iscsi: chap(`${S1}\n`, S2) }, 'bad-chap-secret'],
    ['volume.attach', { volume: 'a', protocols: ['iscsi'], iscsi: chap(S1, S1) }, 'bad-chap-secret'],
    [
      'volume.attach',
      { volume: 'a', protocols: ['iscsi'], iscsi: { chapTarget: { user: 'u', secret: S1 } } },
      'attach-options',
    ],
    ['configure', { iscsiListen: ['127.0.0.1:3260'] }, 'bad-listener'],
    ['configure', { iscsiListen: ['unix:/a'] }, 'bad-listener'],
    ['configure', { iscsiListen: ['tcp:host:99999'] }, 'bad-listener'],
    ['configure', { iscsiPortals: ['host'] }, 'bad-portal'],
    ['configure', { iscsiPortals: ['host:0'] }, 'bad-portal'],
    ['configure', { iscsiPortals: ['a:1,b:2'] }, 'bad-portal'],
    ['configure', { iscsiDiscoveryUser: 'finder' }, 'bad-chap-secret'],
    ['configure', { iscsiDiscoveryUser: '', iscsiDiscoverySecret: S1 }, 'bad-chap-user'],
    ['configure', { iscsiDiscoverySecret: S1 }, 'bad-chap-user'],
    ['volume.detach', { volume: '?' }, 'bad-reference'],
    ['volume.configure', { volume: 'a', ack: 1 }, 'bad-ack'],
    ['volume.configure', { volume: 'a', bufferBytes: 0.5 }, 'bad-setting'],
    ['volume.configure', { volume: 'a', readAheadBytes: 2 ** 40 }, 'bad-setting'],
    ['volume.configure', { volume: 'a', sealIntervalMs: '1s' }, 'bad-setting'],
    ['volume.create', { name: 'a b', sizeBytes: 1 }, 'bad-name'],
    ['volume.create', { name: LONG, sizeBytes: 1 }, 'bad-name'],
    ['volume.create', { name: 'vol-0123456789abcdef0', sizeBytes: 1 }, 'bad-name'],
    ['volume.create', { name: 'a', sizeBytes: -1 }, 'bad-volume-size'],
    ['volume.create', { name: 'a', sizeBytes: 1.5 }, 'bad-volume-size'],
    ['volume.create', { name: 'a', sizeBytes: 2 ** 50 }, 'bad-volume-size'],
    ['volume.create', { name: 'a', sizeBytes: 1, tags: { '': 'x' } }, 'bad-tags'],
    ['volume.create', { name: 'a', sizeBytes: 1, tags: { k: 'x'.repeat(257) } }, 'bad-tags'],
    ['volume.create', { name: 'a', sizeBytes: 1, clientToken: '' }, 'bad-client-token'],
    ['volume.create', { name: 'a', fromSnapshot: '../x' }, 'bad-reference'],
    ['volume.create', { name: 'a' }, 'size-missing'],
    ['volume.import', { file: 'x' }, 'import-target'],
    ['volume.import', { file: 'x', name: 'a', into: 'b' }, 'import-target'],
    ['volume.import', { file: '', name: 'a' }, 'bad-path'],
    ['volume.import', { file: 'x', name: 'a', format: 'iso' }, 'bad-format'],
    ['volume.resize', { volume: 'a', sizeBytes: Number.NaN }, 'bad-volume-size'],
    ['volume.rename', { volume: 'a', name: 'b/c' }, 'bad-name'],
    ['volume.show', { volume: '' }, 'bad-reference'],
    ['snapshot.create', { volume: 'a', description: 'x'.repeat(1025) }, 'bad-description'],
    ['snapshot.export', { snapshot: 's', path: '' }, 'bad-path'],
    ['snapshot.export', { snapshot: 's', path: 'x', format: 'iso' }, 'bad-format'],
    ['snapshot.restore', { snapshot: 's', image: '' }, 'bad-path'],
    ['snapshot.restore', { snapshot: 's', image: 'x', rateBytes: 0 }, 'bad-rate'],
    ['snapshot.restore', { snapshot: 's', image: 'x', exportName: 'a b' }, 'bad-name'],
    ['snapshot.import', { file: 'x', name: 'a', volumeName: '?' }, 'bad-name'],
    ['snapshot.diff', { from: 'a', to: ' ' }, 'bad-reference'],
    ['snapshot.share', { snapshot: 's', accountId: '12' }, 'bad-account-id'],
    ['snapshot.unshare', { snapshot: 's', accountId: 'x' }, 'bad-account-id'],
    ['service.account.create', { name: 'a', accountId: '0000000000001' }, 'bad-account-id'],
    ['service.account.create', { name: '-' }, 'bad-name'],
    ['store.gc', { graceMs: -1 }, 'bad-grace'],
    ['store.gc', { graceMs: 0.5 }, 'bad-grace'],
  ];
  test.each(rows)('%s %j is invalid: %s', async (name, input, code) => {
    await expect(rig.call(name, input as Input<typeof name>)).rejects.toMatchObject({ kind: 'invalid', code });
  });

  test('a secret is in no message, no hint and no detail', async () => {
    for (const iscsi of [chap('short-61b0', S2), chap(S1, S1), { chap: { user: S2.repeat(20), secret: S1 } }]) {
      const input = { volume: 'a', protocols: ['iscsi' as const], iscsi };
      const failure = (await rig.call('volume.attach', input).catch((error: unknown) => error)) as SgwError;
      expect(failure.kind).toBe('invalid');
      for (const secret of ['short-61b0', S1]) expect(JSON.stringify(failure.toDocument())).not.toContain(secret);
    }
  });

  test('a value that is too long is cut in the message and in the details', async () => {
    const failure = await rig.call('volume.show', { volume: 'x'.repeat(100_000) }).catch((error: unknown) => error);
    expect(failure).toMatchObject({ code: 'bad-reference' });
    expect(JSON.stringify((failure as SgwError).toDocument()).length).toBeLessThan(600);
  });

  test.each([
    ['volume.show', { volume: 'nothing' }],
    ['volume.resize', { volume: 'nothing', sizeBytes: 1 }],
    ['volume.rename', { volume: 'nothing', name: 'b' }],
    ['volume.delete', { volume: 'nothing' }],
    ['volume.map', { volume: 'nothing' }],
    ['volume.verify', { volume: 'nothing' }],
    ['snapshot.create', { volume: 'nothing' }],
    ['snapshot.list', { volume: 'nothing' }],
    ['snapshot.show', { snapshot: 'nothing' }],
    ['snapshot.rename', { snapshot: 'nothing', name: 'b' }],
    ['snapshot.delete', { snapshot: 'nothing' }],
    ['snapshot.verify', { snapshot: 'nothing' }],
    ['snapshot.export', { snapshot: 'nothing', path: 'x' }],
    ['snapshot.restore', { snapshot: 'nothing', image: 'x' }],
    ['snapshot.diff', { from: 'nothing', to: 'nothing' }],
    ['volume.create', { name: 'a', fromSnapshot: 'nothing' }],
    ['volume.import', { file: '/nonexistent/image', name: 'a' }],
    ['snapshot.import', { file: '/nonexistent/image', name: 'a' }],
  ] as const)('%s of what does not exist is notFound, and changes nothing', async (name, input) => {
    await expect(rig.call(name, input as Input<typeof name>)).rejects.toMatchObject({ kind: 'notFound' });
    expect((await rig.call('volume.list', { deleted: true })).volumes).toEqual([]);
  });
});
