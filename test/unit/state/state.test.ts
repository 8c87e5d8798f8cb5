import { chmod, mkdtemp, readFile, readdir, rm, stat, unlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  acquireLock,
  emptyState,
  newServingSettings,
  openState,
  updateState,
  type AttachmentState,
  type GatewayState,
  type IscsiState,
} from '../../../src/core/state/index.ts';
import { serialize } from '../../../src/core/state/state-file.ts';

const GATEWAY: GatewayState = {
  gatewayId: 'sgw-12345678',
  name: 'lab',
  mode: 'cached',
  accountId: '123456789012',
  region: 'local',
  store: '/srv/store',
  storeId: '0f0e0d0c',
  activatedAt: '2026-11-22T10:00:00.000Z',
  encryption: 'none',
  configurationVersion: 1,
  credential: { credentialId: 'cred-1', keyFingerprint: 'aa', issuedAt: '2026-11-22T10:00:00.000Z' },
  activationKey: 'AAAAA-BBBBB-CCCCC-DDDDD-EEEEE',
  metadata: { version: '0.1.0' },
  serving: newServingSettings(),
  volumeSettings: {},
  attachments: [],
};

const ATTACHMENT: AttachmentState = {
  exportName: 'db',
  volumeId: 'vol-0123456789abcdef0',
  snapshotId: null,
  recoveryPointSeq: null,
  readOnly: false,
  protocols: ['nbd'],
  iscsi: null,
  scratchToken: null,
  scratchVolumeId: null,
  accountId: '123456789012',
  attachedAt: '2026-11-25T10:00:00.000Z',
};

const ISCSI: IscsiState = {
  targetName: 'iqn.2026-11.internal.sgw:vol-0123456789abcdef0.db',
  chapUser: 'host-1',
  chapTargetUser: null,
  initiators: ['iqn.1993-08.org.debian:01:abc'],
};
const OVER_ISCSI: AttachmentState = { ...ATTACHMENT, protocols: ['nbd', 'iscsi'], iscsi: ISCSI };

/** What an older version, which knew no service, leaves of it. */
const MIGRATED: GatewayState = {
  ...GATEWAY,
  credential: null,
  activationKey: null,
  metadata: {},
};

let folder: string;
let home: string;
let path: string;
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'sgw-state-'));
  home = join(folder, 'a', 'home');
  path = join(home, 'state.json');
});
afterEach(async () => {
  await rm(folder, { recursive: true, force: true });
});

const activate = async (): Promise<void> =>
  updateState(home, (state) => {
    state.gateway = { ...GATEWAY };
  });

describe('the state', () => {
  it('of a home that is not there is empty, and reading makes nothing', async () => {
    expect(await openState(home)).toEqual(emptyState());
    expect(await readdir(folder)).toEqual([]);
  });

  it('is read back as it was changed', async () => {
    await activate();
    expect(await openState(home)).toEqual({ schemaVersion: 4, gateway: GATEWAY, activation: null });
    expect(await updateState(home, (state) => state.gateway?.name)).toBe('lab');
  });

  it('is 0600 in a home of 0700, whatever the umask and the mode before', async () => {
    const umask = process.umask(0);
    try {
      await activate();
      await chmod(path, 0o644);
      await updateState(home, (state) => (state.gateway = { ...GATEWAY, name: 'other' }));
    } finally {
      process.umask(umask);
    }
    expect((await stat(path)).mode & 0o777).toBe(0o600);
    expect((await stat(home)).mode & 0o777).toBe(0o700);
  });

  it('keeps the version before the last change, and nothing else', async () => {
    await activate();
    for (const name of ['two', 'three']) {
      const before = await readFile(path);
      await updateState(home, (state) => (state.gateway = { ...GATEWAY, name }));
      expect(await readFile(`${path}.previous`)).toEqual(before);
    }
    expect((await readdir(home)).sort()).toEqual(['locks', 'state.json', 'state.json.previous']);
  });

  it('is not written when nothing changes, or the change fails', async () => {
    await activate();
    const { ino } = await stat(path);
    await updateState(home, () => undefined);
    const failing = updateState(home, (state) => {
      state.gateway = null;
      throw new Error('no');
    });
    await expect(failing).rejects.toThrow('no');
    expect((await stat(path)).ino).toBe(ino);
    await activate();
  });

  it('is never written with a field that no reader would accept', async () => {
    await activate();
    const change = updateState(home, (state) => (state.gateway = { ...GATEWAY, accountId: '12' }));
    await expect(change).rejects.toMatchObject({ kind: 'internal' });
    expect((await openState(home)).gateway).toEqual(GATEWAY);
  });

  it.each<[string, Partial<GatewayState>]>([
    ['two exports of one name', { attachments: [ATTACHMENT, ATTACHMENT] }],
    ['an export of a volume and a snapshot', { attachments: [{ ...ATTACHMENT, snapshotId: 'snap-1' }] }],
    ['an export of nothing', { attachments: [{ ...ATTACHMENT, volumeId: null }] }],
    [
      'a recovery point without its volume',
      {
        attachments: [{ ...ATTACHMENT, volumeId: null, snapshotId: 'snap-1', recoveryPointSeq: 3 }],
      },
    ],
    ['a protocol that there is not', { attachments: [{ ...ATTACHMENT, protocols: ['smb' as 'nbd'] }] }],
    ['an export over nothing', { attachments: [{ ...ATTACHMENT, protocols: [] }] }],
    ['a target of an export that is not served over iSCSI', { attachments: [{ ...ATTACHMENT, iscsi: ISCSI }] }],
    ['an export over iSCSI without its target', { attachments: [{ ...ATTACHMENT, protocols: ['iscsi'] }] }],
    ['two targets of one name', { attachments: [OVER_ISCSI, { ...OVER_ISCSI, exportName: 'other' }] }],
    ['a scratch volume that nobody asked for', { attachments: [{ ...ATTACHMENT, scratchVolumeId: 'vol-1' }] }],
    ['a buffer of less than nothing', { serving: { ...newServingSettings(), bufferBytes: -1 } }],
    ['a size that is no whole number', { volumeSettings: { 'vol-1': { readAheadBytes: 0.5 } } }],
  ])('is never written with %s', async (_what, part) => {
    await activate();
    const change = updateState(home, (state) => (state.gateway = { ...GATEWAY, ...part }));
    await expect(change).rejects.toMatchObject({ kind: 'internal' });
    expect((await openState(home)).gateway).toEqual(GATEWAY);
  });

  it('what is attached and set for volumes is read back as it was written', async () => {
    const gateway: GatewayState = {
      ...GATEWAY,
      attachments: [
        ATTACHMENT,
        { ...OVER_ISCSI, exportName: 'both' },
        { ...ATTACHMENT, exportName: 'old', recoveryPointSeq: 7, readOnly: true },
      ],
      volumeSettings: { 'vol-0123456789abcdef0': { ack: 'store', bufferBytes: 1 << 30 } },
    };
    await updateState(home, (state) => (state.gateway = gateway));
    expect((await openState(home)).gateway).toEqual(gateway);
  });

  it('concurrent changes are all made', async () => {
    await activate();
    const change = async (): Promise<void> =>
      updateState(home, (state) => {
        if (state.gateway !== null) state.gateway.configurationVersion += 1;
      });
    await Promise.all(Array.from({ length: 12 }, change));
    expect((await openState(home)).gateway?.configurationVersion).toBe(13);
  });

  it('can be read while the home is locked, and not be changed', async () => {
    await activate();
    const lock = await acquireLock({ home, name: 'home', purpose: 'testing' });
    expect((await openState(home)).gateway?.name).toBe('lab');
    await expect(updateState(home, () => 1, { lockTimeoutMs: 0 })).rejects.toMatchObject({ code: 'locked' });
    await lock.release();
  });
});

describe('a damaged state', () => {
  it('is reported for every changed byte, by name, with the previous version if there is one, and is left alone', async () => {
    await activate();
    const good = await readFile(path);
    for (let at = 0; at < good.length; at++) {
      for (const bit of [0x01, 0x20, 0x80]) {
        const bad = Buffer.from(good);
        bad[at] = (good[at] ?? 0) ^ bit;
        await writeFile(path, bad);
        const error: unknown = await openState(home).catch((reason: unknown) => reason);
        expect(error, `byte ${String(at)}`).toMatchObject({
          kind: 'corrupt',
          code: 'state-damaged',
          details: { path },
        });
      }
    }
    await expect(activate()).rejects.toMatchObject({
      hint: expect.stringMatching(/^(?!.*previous).*sgw activate --store/) as string,
    });
    await writeFile(`${path}.previous`, good);
    await expect(activate()).rejects.toMatchObject({ hint: expect.stringContaining(`${path}.previous`) as string });
    expect((await readFile(path)).length).toBe(good.length);
  });

  it('is reported for every truncation and for what was added', async () => {
    await activate();
    const good = await readFile(path);
    for (const bad of [
      ...Array.from(good, (_, length) => good.subarray(0, length)),
      Buffer.concat([good, Buffer.from(' ')]),
    ]) {
      await writeFile(path, bad);
      await expect(openState(home)).rejects.toMatchObject({ kind: 'corrupt', code: 'state-damaged' });
    }
  });

  it('a state that is missing beside its previous version is damage, not a new home', async () => {
    await activate();
    await updateState(home, (state) => (state.gateway = { ...GATEWAY, name: 'two' }));
    await unlink(path);
    await expect(openState(home)).rejects.toMatchObject({ kind: 'corrupt', code: 'state-damaged' });
    await expect(activate()).rejects.toMatchObject({ kind: 'corrupt' });
  });

  it('the previous version, copied back, is good', async () => {
    await activate();
    await updateState(home, (state) => (state.gateway = { ...GATEWAY, name: 'two' }));
    await writeFile(path, 'garbage');
    await writeFile(path, await readFile(`${path}.previous`));
    expect((await openState(home)).gateway?.name).toBe('lab');
  });
});

describe('schema versions', () => {
  it.each([0, 1, 2, 3])(
    'a state of version %i is migrated when read, and written anew by the next change',
    async (from) => {
      const fixture = fileURLToPath(new URL(`fixtures/state-v${String(from)}.json`, import.meta.url));
      await updateState(home, () => undefined);
      await writeFile(path, await readFile(fixture));
      expect(await openState(home)).toEqual({
        schemaVersion: 4,
        gateway: from < 2 ? MIGRATED : from === 2 ? GATEWAY : { ...GATEWAY, attachments: [ATTACHMENT] },
        activation: null,
      });
      expect(await readFile(path, 'utf8')).toBe(await readFile(fixture, 'utf8'));
      await updateState(home, (state) => (state.gateway = { ...MIGRATED, configurationVersion: 2 }));
      expect(JSON.parse(await readFile(path, 'utf8'))).toMatchObject({ schemaVersion: 4 });
      expect(await readFile(`${path}.previous`, 'utf8')).toBe(await readFile(fixture, 'utf8'));
    },
  );

  it('a state of a newer version is unsupported, and left alone', async () => {
    await activate();
    const newer = serialize({ schemaVersion: 5, gateway: GATEWAY, peers: [] });
    await writeFile(path, newer);
    await expect(openState(home)).rejects.toMatchObject({ kind: 'unsupported', code: 'state-newer' });
    await expect(activate()).rejects.toMatchObject({ kind: 'unsupported' });
    expect(await readFile(path, 'utf8')).toBe(newer);
  });

  it('a version that never was is damage', async () => {
    await activate();
    for (const schemaVersion of [-1, 0.5, '1', null]) {
      await writeFile(path, serialize({ schemaVersion, gateway: null }));
      await expect(openState(home)).rejects.toMatchObject({ kind: 'corrupt' });
    }
  });
});
