/** What one who can read a sealed store, but has no key, finds in it: none of what its users wrote. */
import { zstdDecompressSync } from 'node:zlib';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import {
  Catalog,
  PAGE_BYTES,
  createSnapshot,
  createStore,
  openSnapshotView,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
} from '../../../src/core/blockstore/index.ts';
import { parseRecoveryCode, passphraseSecret, unlockStore } from '../../../src/core/blockstore/sealing/index.ts';
import { MIB } from '../../../src/core/kit/index.ts';
import { unlock, volumeKey } from '../../reader/independent-sealing.ts';
import { PASSPHRASE, sealedStore } from './sealed-store.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, readAll } from './volume-model.ts';

const CREATOR = '000000424242';
const MARKERS = {
  data: 'PLANTED-IN-THE-DATA',
  volumeName: 'planted-volume-name',
  tag: 'planted-tag',
  path: '/planted/path/of/an/image.img',
  token: 'planted-client-token',
  snapshotName: 'planted-snapshot-name',
  description: 'planted description',
  cloneName: 'planted-clone-name',
  holder: 'planted-holder-name',
  gateway: 'sgw-9a9b9c9d',
  creator: CREATOR,
} as const;

/** The creator as a map node has it, and every other marker as its characters. */
const bytesOfMarker = (marker: string): Buffer[] => {
  const forms = [Buffer.from(marker), Buffer.from(marker, 'utf16le'), Buffer.from(Buffer.from(marker).toString('hex'))];
  if (marker !== CREATOR) return forms;
  const number = Buffer.alloc(6);
  number.writeUIntLE(Number(marker), 0, 6);
  return [...forms, number];
};

const ZSTD_MAGIC = Buffer.from('28b52ffd', 'hex');

/** An object's bytes, and everything in it that is a zstd frame. */
function* layersOf(bytes: Buffer): Generator<Buffer> {
  yield bytes;
  for (let at = bytes.indexOf(ZSTD_MAGIC); at >= 0; at = bytes.indexOf(ZSTD_MAGIC, at + 1)) {
    try {
      yield zstdDecompressSync(bytes.subarray(at));
    } catch {
      // Not a frame, but bytes that look like the beginning of one.
    }
  }
}

/** Which markers stand in keys or contents of which kind of object. */
async function findMarkers({ objects }: BlockStoreOptions): Promise<Set<string>> {
  const found = new Set<string>();
  for await (const { key } of objects.list('')) {
    const body = (await objects.get(key))?.bytes ?? Buffer.alloc(0);
    for (const layer of [Buffer.from(key), ...layersOf(body)]) {
      for (const [name, marker] of Object.entries(MARKERS))
        if (bytesOfMarker(marker).some((form) => layer.includes(form))) found.add(name);
    }
  }
  return found;
}

/** Uses every field in which something could be planted. Returns what the clone reads as. */
async function plant(options: BlockStoreOptions): Promise<Buffer> {
  const catalog = new Catalog(options);
  const volume = await catalog.createVolume({
    name: MARKERS.volumeName,
    sizeBytes: MIB,
    accountId: ACCOUNT,
    tags: { [MARKERS.tag]: 'x', y: MARKERS.tag },
    clientToken: MARKERS.token,
    unfinishedImport: { source: MARKERS.path, startedAt: '2026-01-01T00:00:00.000Z' },
  });
  const who = { gatewayId: MARKERS.gateway, name: MARKERS.holder };
  const writer = await openVolumeWriter(options, volume.volumeId, { holder: who, accountId: CREATOR });
  const image = Buffer.alloc(MIB);
  for (let page = 0; page < 20; page += 3) image.fill(MARKERS.data, page * PAGE_BYTES, page * PAGE_BYTES + 3000);
  await writer.commit({ encoded: [encodeBlocks(image, [0])], consistent: true });
  await writer.checkpoint();
  await writer.commit({ encoded: [encodeBlocks(image, [1])], consistent: true });
  await catalog.updateVolume(volume.volumeId, (entry) => ({ ...entry, importedFrom: MARKERS.path }));
  const from = await createSnapshot(options, {
    volume,
    name: MARKERS.snapshotName,
    accountId: ACCOUNT,
    description: MARKERS.description,
    tags: { z: MARKERS.tag },
  });
  const clone = await catalog.createVolume({ name: MARKERS.cloneName, sizeBytes: MIB, accountId: ACCOUNT, from });
  const ofClone = await openVolumeWriter(options, clone.volumeId, { holder, accountId: CREATOR });
  await ofClone.resize(MIB / 2 + 77);
  await ofClone.close();
  const read = await readAll(await openVolumeView(options, clone.volumeId));
  expect(read.equals(image.subarray(0, read.length))).toBe(true);
  expect((await readAll(openSnapshotView(options, from))).equals(image)).toBe(true);
  return read;
}

describe('C16 a store that was looked through', () => {
  it('shows no data, names, tags, paths, holders or creators when it is sealed', async () => {
    const { options } = await sealedStore();
    await plant(options);
    expect([...(await findMarkers(options))]).toEqual([]);
  });

  it('shows all of them when it is not', async () => {
    const options = optionsOver();
    await createStore(options);
    await plant(options);
    expect([...(await findMarkers(options))].sort()).toEqual(Object.keys(MARKERS).sort());
  });

  it('reads the same as one that is not sealed', async () => {
    const options = optionsOver();
    await createStore(options);
    expect((await plant(options)).equals(await plant((await sealedStore()).options))).toBe(true);
  });
});

/** All the ways in which bytes could be shown. */
const shownAs = (bytes: Uint8Array): string[] => {
  const buffer = Buffer.from(bytes);
  const texts = [
    buffer.toString('hex'),
    buffer.toString('base64'),
    buffer.toString('base64url'),
    buffer.toString('latin1'),
  ];
  return [...texts, buffer.subarray(0, 6).join(', '), buffer.subarray(0, 6).join(','), inspect(buffer).slice(8, 24)];
};

describe('C16 keys', () => {
  it('show in no error, and not when a ring, options or an index is printed', async () => {
    const { options, info, recoveryCode } = await sealedStore();
    await plant(options);
    const get = async (key: string): Promise<Buffer | undefined> => (await options.objects.get(key))?.bytes;
    const keys = await unlock(get, { kind: 'passphrase', passphrase: PASSPHRASE });
    const [volume] = await new Catalog(options).listVolumes();
    if (volume === undefined) throw new Error('a volume was planted');
    const view = await openVolumeView(options, volume.volumeId);
    const [leaf] = await Array.fromAsync(view.map.leaves());
    const run = leaf?.runs[0];
    if (run === undefined) throw new Error('the volume has data');
    const index = await view.segments.index(run.source);
    expect(index.opening(0)).toBeDefined();
    const errors = await Promise.all(
      [passphraseSecret('wrong'), parseRecoveryCode(recoveryCode)].map(async (secret) => {
        const opened = unlockStore(options, { ...info, storeId: 'store-0' }, secret);
        return await opened.then(
          () => undefined,
          (error: unknown) => error,
        );
      }),
    );
    expect(errors.every((error) => error instanceof Error)).toBe(true);
    const shown = [
      options.keys,
      options,
      index,
      index.opening(0),
      view,
      errors,
      passphraseSecret,
      parseRecoveryCode(recoveryCode),
    ]
      .flatMap((thing) => [
        inspect(thing, { depth: 9, showHidden: true }),
        JSON.stringify(thing, (_key, value: unknown) => (typeof value === 'bigint' ? String(value) : value)),
      ])
      .join('\n');
    const secrets = [
      ...shownAs(keys.accountKey),
      ...shownAs(await volumeKey(get, keys, volume.volumeId)),
      PASSPHRASE,
      recoveryCode,
    ];
    for (const secret of secrets) expect(shown.includes(secret), secret).toBe(false);
  });
});
