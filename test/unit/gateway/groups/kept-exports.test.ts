import { mkdir, mkdtemp, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { KeptExports, parseExport, textOfExport } from '../../../../src/core/gateway/groups/kept-exports.ts';
import type { VolumeId } from '../../../../src/core/kit/index.ts';
import { SILENT } from '../../../support/control/network.ts';

const VOLUME = 'vol-0123456789abcdef0' as VolumeId;
const IQN = 'iqn.2026-11.internal.sgw:db';
const EXPORTED = {
  as: {
    protocols: ['nbd' as const, 'iscsi' as const],
    readOnly: false,
    iscsi: { targetName: IQN, chapUser: 'host', chapTargetUser: null, initiators: [], chapInitiators: ['iqn.a:b'] },
  },
  secrets: {
    own: { initiator: 'kumquat-7f3a-1', target: null },
    initiators: { 'iqn.a:b': { initiator: 'persimmon-0b55', target: 'quince-1e20-9' } },
  },
};

describe('how a holder serves a volume, kept by its replicas', () => {
  let home: string;
  beforeEach(async () => {
    home = await mkdtemp(path.join(tmpdir(), 'sgw-'));
  });
  afterEach(async () => {
    await rm(home, { recursive: true });
  });

  it('is what this holder told last, in a file of the owner alone, until it is forgotten', async () => {
    const kept = new KeptExports(home, SILENT);
    expect(await kept.of(VOLUME, 'sgw-a')).toBeUndefined();
    await kept.forget(VOLUME);
    await kept.keep(VOLUME, 'sgw-a', textOfExport({ ...EXPORTED, secrets: { own: null, initiators: {} } }));
    await kept.keep(VOLUME, 'sgw-a', textOfExport(EXPORTED));
    expect(await new KeptExports(home, SILENT).of(VOLUME, 'sgw-a')).toEqual(EXPORTED);
    expect(await kept.of(VOLUME, 'sgw-b')).toBeUndefined();
    const file = path.join(home, 'replicas', VOLUME, 'export.json');
    const { mode, mtimeMs } = await stat(file);
    expect(mode & 0o777).toBe(0o600);
    await kept.keep(VOLUME, 'sgw-a', textOfExport(EXPORTED));
    expect((await stat(file)).mtimeMs).toBe(mtimeMs);
    await kept.keepOnly(new Set([VOLUME]));
    expect(await kept.of(VOLUME, 'sgw-a')).toEqual(EXPORTED);
    await writeFile(`${file}.new`, 'a kill left this');
    await kept.keepOnly(new Set());
    expect(await readdir(path.dirname(file))).toEqual([]);
  });

  it('is not what was told before where it is not understood, and nothing where it can not be read', async () => {
    const kept = new KeptExports(home, SILENT);
    await kept.keep(VOLUME, 'sgw-a', textOfExport(EXPORTED));
    await kept.keep(VOLUME, 'sgw-a', '{"as":1}');
    expect(await kept.of(VOLUME, 'sgw-a')).toBeUndefined();
    const file = path.join(home, 'replicas', VOLUME, 'export.json');
    await writeFile(file, '{"holder":"sgw-a"');
    expect(await kept.of(VOLUME, 'sgw-a')).toBeUndefined();
    await rm(file);
    await mkdir(file);
    expect(await kept.of(VOLUME, 'sgw-a')).toBeUndefined();
  });

  it('beside the newest epoch that asked for records, which outlives it', async () => {
    const kept = new KeptExports(home, SILENT);
    expect(await kept.epochOf(VOLUME)).toBe(0);
    await kept.keep(VOLUME, 'sgw-a', textOfExport(EXPORTED));
    await kept.keepEpoch(VOLUME, 6);
    await kept.keepEpoch(VOLUME, 7);
    await kept.forget(VOLUME);
    expect(await new KeptExports(home, SILENT).epochOf(VOLUME)).toBe(7);
    const file = path.join(home, 'replicas', VOLUME, 'reign.json');
    await writeFile(file, '{"epoch":"7"}');
    await expect(kept.epochOf(VOLUME)).rejects.toMatchObject({ code: 'reign-damaged' });
    await kept.keepOnly(new Set());
    expect(await kept.epochOf(VOLUME)).toBe(0);
    expect(await readdir(path.dirname(file))).toEqual([]);
  });

  it('is read only when every field is as it has to be', () => {
    expect(parseExport(textOfExport(EXPORTED))).toEqual(EXPORTED);
    const row = { imagePath: '/dev/sdb', accountId: '000000000002', exportName: 'other' };
    const more = {
      as: { ...EXPORTED.as, ...row, iscsi: { ...EXPORTED.as.iscsi, ...row } },
      secrets: { ...EXPORTED.secrets, ...row },
    };
    expect(parseExport(JSON.stringify(more))).toEqual(EXPORTED);
    const { as, secrets } = EXPORTED;
    const bad: readonly unknown[] = [
      null,
      {},
      { as },
      { secrets },
      { as: { ...as, protocols: [] }, secrets },
      { as: { ...as, protocols: ['nbd'] }, secrets },
      { as: { ...as, protocols: ['nfs'] }, secrets },
      { as: { ...as, iscsi: null }, secrets },
      { as: { ...as, iscsi: { ...as.iscsi, initiators: [1] } }, secrets },
      { as: { ...as, readOnly: 'no' }, secrets },
      { as, secrets: { own: 1, initiators: {} } },
      { as, secrets: { own: { initiator: 5, target: null }, initiators: {} } },
      { as, secrets: { own: null, initiators: { a: null } } },
      { as, secrets: { own: null } },
    ];
    for (const value of bad) expect(parseExport(JSON.stringify(value)), JSON.stringify(value)).toBeUndefined();
    expect(parseExport('{')).toBeUndefined();
  });
});
