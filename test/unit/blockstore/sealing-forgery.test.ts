/** What one who can write to a sealed store, but has no key, can make of it: damage that is noticed, and nothing else. */
import { crc32 } from 'node:zlib';
import { beforeEach, describe, expect, it } from 'vitest';
import {
  Catalog,
  PAGE_BYTES,
  createStore,
  openVolumeView,
  openVolumeWriter,
  type BlockStoreOptions,
  type FrameEntry,
} from '../../../src/core/blockstore/index.ts';
import { passphraseSecret, unlockStore } from '../../../src/core/blockstore/sealing/index.ts';
import { decodeFrame } from '../../../src/core/blockstore/frame-codec.ts';
import { readSegmentIndex } from '../../../src/core/blockstore/segment-reader.ts';
import { MIB, seededRandom, type VolumeId } from '../../../src/core/kit/index.ts';
import { buildSegment } from '../../reader/independent-builder.ts';
import { forgeDocument, forgeSegment, frameSpan, type OpenSegment } from './forging.ts';
import { PASSPHRASE, sealedStore, type SealedStore } from './sealed-store.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, readAll } from './volume-model.ts';

const OTHER_ACCOUNT = '000000000077';
const noise = (seed: number): Buffer => seededRandom(seed).bytes(PAGE_BYTES);
const logKey = (volumeId: VolumeId, seq: number): string => `volumes/${volumeId}/log/${String(seq).padStart(16, '0')}`;

interface Scene {
  readonly options: BlockStoreOptions;
  readonly volumeId: VolumeId;
  readonly image: Buffer;
}

/** Two segments of a volume, not yet in a checkpoint: each holds one page of noise in blocks 0 and 1, and an extent. */
async function scene(options: BlockStoreOptions): Promise<Scene> {
  const volume = await new Catalog(options).createVolume({ name: 'golden', sizeBytes: MIB, accountId: ACCOUNT });
  const writer = await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT });
  const image = Buffer.alloc(MIB);
  for (const seed of [1, 3]) {
    noise(seed).copy(image, 0);
    noise(seed + 1).copy(image, 16 * PAGE_BYTES);
    await writer.commit({
      encoded: [encodeBlocks(image, [0, 1])],
      unmap: [{ firstPage: 40, pageCount: 2 }],
      consistent: true,
      creators: [[ACCOUNT], [OTHER_ACCOUNT]],
    });
  }
  await writer.abandon();
  return { options, volumeId: volume.volumeId, image };
}

const read = async ({ options, volumeId }: Scene): Promise<Buffer> => readAll(await openVolumeView(options, volumeId));

async function bytesOf({ options }: Scene, key: string): Promise<Buffer> {
  const object = await options.objects.get(key);
  if (object === undefined) throw new Error(`${key} is missing`);
  return Buffer.from(object.bytes);
}

const put = async (at: Scene, key: string, body: Buffer): Promise<void> => {
  await at.options.objects.put(key, body);
};

let sealed: Scene;
let plain: Scene;
let store: SealedStore;
beforeEach(async () => {
  store = await sealedStore();
  sealed = await scene(store.options);
  const options = optionsOver();
  await createStore(options);
  plain = await scene(options);
});

/** Copies the stored bytes of a frame over those of another of the same length. */
function overwriteFrame(to: OpenSegment, number: number, from: OpenSegment, fromNumber: number): void {
  const target = frameSpan(to, number);
  const source = frameSpan(from, fromNumber);
  expect(target.to - target.from).toBe(source.to - source.from);
  from.body.copy(to.body, target.from, source.from, source.to);
}

function swapEntries(segment: OpenSegment, from: number, length: number): void {
  const a = segment.footer.frames.offset + from;
  const entry = Buffer.from(segment.body.subarray(a, a + length));
  segment.body.copyWithin(a, a + 32, a + 32 + length);
  entry.copy(segment.body, a + 32);
}

/** What is done to the second segment; `first` is the one before it. */
const TABLE_FORGERIES: readonly (readonly [what: string, (second: OpenSegment) => void])[] = [
  [
    'the blocks of two frames exchanged',
    (second) => {
      swapEntries(second, 0, 8);
    },
  ],
  ['a frame moved to another block', ({ body, footer }) => body.writeUInt32LE(9, footer.frames.offset)],
  [
    'a frame moved to another page of its block',
    ({ body, footer }) => body.writeUInt16LE(2, footer.frames.offset + 16),
  ],
  ['a frame given to other creators', ({ body, footer }) => body.writeUInt16LE(1, footer.frames.offset + 20)],
  ['an extent moved', ({ body, footer }) => body.writeUInt32LE(50, footer.extents.offset)],
  ['an extent made longer', ({ body, footer }) => body.writeUInt32LE(99, footer.extents.offset + 8)],
  [
    'the size of the volume changed',
    ({ footer }) => {
      footer['sizeBytes'] = MIB / 2;
    },
  ],
  [
    'the state called inconsistent',
    ({ footer }) => {
      footer['consistent'] = false;
    },
  ],
  [
    'a later time',
    ({ footer }) => {
      footer['commitTimeMs'] = Number(footer['commitTimeMs']) + 1;
    },
  ],
];

describe('C16 a segment whose tables were altered, with all unkeyed hashes made right', () => {
  it.each(TABLE_FORGERIES)('is damaged: %s', async (_what, change) => {
    const key = logKey(sealed.volumeId, 2);
    await put(sealed, key, forgeSegment(await bytesOf(sealed, key), change));
    await expect(read(sealed)).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged', details: { key } });
  });

  it('would be taken for true in a store without a key', async () => {
    const key = logKey(plain.volumeId, 2);
    await put(
      plain,
      key,
      forgeSegment(await bytesOf(plain, key), ({ body, footer }) => body.writeUInt32LE(9, footer.frames.offset)),
    );
    const forged = Buffer.from(plain.image);
    plain.image.copy(forged, 9 * 16 * PAGE_BYTES, 0, PAGE_BYTES);
    noise(1).copy(forged, 0);
    expect((await read(plain)).equals(forged)).toBe(true);
  });

  it('is damaged: the creators of another segment', async () => {
    const key = logKey(sealed.volumeId, 2);
    const first = await bytesOf(sealed, logKey(sealed.volumeId, 1));
    const forged = forgeSegment(await bytesOf(sealed, key), ({ body, footer }) => {
      const at = footer.sealed;
      if (at === undefined) throw new Error('the segment is sealed');
      forgeSegment(first, (other) => {
        other.body.copy(body, at.offset, other.footer.sealed?.offset, (other.footer.sealed?.offset ?? 0) + at.length);
      });
    });
    await put(sealed, key, forged);
    await expect(read(sealed)).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged' });
  });

  it('is damaged: page hashes of pages that somebody else chose', async () => {
    const key = logKey(sealed.volumeId, 2);
    const forged = forgeSegment(await bytesOf(sealed, key), ({ body, footer }) => {
      body.fill(0x55, footer.pageHashes.offset, footer.pageHashes.offset + 16);
    });
    await put(sealed, key, forged);
    await expect(read(sealed)).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged' });
  });
});

describe('C16 sealed frames in the wrong place, with all unkeyed hashes made right', () => {
  const FRAME_FORGERIES: readonly (readonly [string, (second: OpenSegment, first: OpenSegment) => void])[] = [
    [
      'two frames of one segment exchanged',
      (second) => {
        const kept: OpenSegment = { ...second, body: Buffer.from(second.body) };
        overwriteFrame(second, 0, kept, 1);
        overwriteFrame(second, 1, kept, 0);
      },
    ],
    [
      'a frame of another segment',
      (second, first) => {
        overwriteFrame(second, 1, first, 0);
      },
    ],
    [
      'an older frame of the same place',
      (second, first) => {
        overwriteFrame(second, 0, first, 0);
      },
    ],
    [
      'a bit of a frame flipped',
      (second) => {
        second.body[frameSpan(second, 0).from + 5]! ^= 1;
      },
    ],
    [
      'a bit of a tag flipped',
      (second) => {
        second.body[frameSpan(second, 0).to - 1]! ^= 1;
      },
    ],
  ];

  it.each(FRAME_FORGERIES)('are damage: %s', async (_what, change) => {
    const key = logKey(sealed.volumeId, 2);
    const firstBody = await bytesOf(sealed, logKey(sealed.volumeId, 1));
    const secondBody = await bytesOf(sealed, key);
    forgeSegment(firstBody, (first) => {
      const forged = forgeSegment(secondBody, (second) => {
        change(second, first);
      });
      void put(sealed, key, forged);
    });
    await expect(read(sealed)).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged', details: { key } });
  });
});

describe('C16 a sealed frame', () => {
  it('opens only with its own facts, at its own number, in its own segment', async () => {
    const { segments } = await openVolumeView(sealed.options, sealed.volumeId);
    const [first, second] = await Promise.all(
      [1, 2].map(async (seq) => {
        const index = await readSegmentIndex(sealed.options, logKey(sealed.volumeId, seq));
        if (index === undefined) throw new Error('there are two segments');
        const ref = { key: index.key, segmentId: index.footer.segmentId, creators: [] };
        const entry = index.frame(0);
        const stored = await segments.readSpan(ref, entry.offset, entry.storedLength);
        return { index, entry, stored, hashes: (await segments.pageHashes(ref)).subarray(0, 16) };
      }),
    );
    if (first === undefined || second === undefined) throw new Error('there are two segments');
    const open = (change: Partial<FrameEntry>, stored = first.stored, opening = first.index.opening(0)): Buffer => {
      const entry = { ...first.entry, crc32: crc32(stored), ...change };
      return decodeFrame(first.index.key, entry, stored, first.hashes, opening);
    };
    expect(open({}).equals(noise(1))).toBe(true);
    const elsewhere = expect.objectContaining({
      kind: 'corrupt',
      message: expect.stringContaining('was altered, or belongs elsewhere') as string,
    }) as Error;
    for (const change of [{ block: 1 }, { mask: 2 }, { codec: 1 }, { creators: 1 }, { hashIndex: 1 }])
      expect(() => open(change), JSON.stringify(change)).toThrow(elsewhere);
    expect(() => open({}, second.stored)).toThrow(elsewhere);
    expect(() => open({}, first.stored, first.index.opening(1))).toThrow(elsewhere);
    expect(() => open({}, first.stored, second.index.opening(0))).toThrow(elsewhere);
    const flipped = Buffer.from(first.stored);
    flipped.writeUInt8(flipped.readUInt8(9) ^ 4, 9);
    expect(() => open({}, flipped)).toThrow(elsewhere);
  });
});

describe('C16 whole objects in the wrong place', () => {
  it('a segment that is not sealed is damage', async () => {
    const forged = buildSegment({
      volumeId: sealed.volumeId,
      seq: 1,
      epoch: 1,
      sizeBytes: MIB,
      frames: [{ block: 0, pages: { 0: noise(9) } }],
    });
    await put(sealed, forged.key, forged.body);
    await expect(read(sealed)).rejects.toMatchObject({ kind: 'corrupt', details: { key: forged.key } });
  });

  it('a segment of another volume of the same store is damage', async () => {
    const other = await scene(sealed.options);
    const from = await bytesOf(other, logKey(other.volumeId, 2));
    const key = logKey(sealed.volumeId, 2);
    await put(
      sealed,
      key,
      forgeSegment(from, ({ footer }) => {
        footer['volumeId'] = sealed.volumeId;
      }),
    );
    await expect(read(sealed)).rejects.toMatchObject({ kind: 'corrupt', details: { key } });
  });

  it("another volume's key is damage", async () => {
    const other = await scene(sealed.options);
    const keys = await unlockStore(sealed.options, store.info, passphraseSecret(PASSPHRASE));
    const options = { ...sealed.options, keys };
    const key = `volumes/${sealed.volumeId}/key.json`;
    const from = await bytesOf(other, `volumes/${other.volumeId}/key.json`);
    await put(
      sealed,
      key,
      forgeDocument(from, (fields) => {
        Object.assign(fields, { key, volumeId: sealed.volumeId });
      }),
    );
    await expect(openVolumeView(options, sealed.volumeId)).rejects.toMatchObject({ kind: 'corrupt' });
  });
});

describe('C16 documents in a sealed store', () => {
  const entryOf = (volumeId: VolumeId): string => `volumes/${volumeId}/volume.json`;
  const get = (volumeId: VolumeId): Promise<unknown> => new Catalog(sealed.options).getVolume(volumeId);

  it('are damage with a clear field altered', async () => {
    for (const [field, value] of [
      ['state', 'deleted'],
      ['accountId', OTHER_ACCOUNT],
      ['sizeBytes', 1],
      ['version', 7],
      ['changeId', '0'.repeat(24)],
    ] as const) {
      const key = entryOf(sealed.volumeId);
      const before = await bytesOf(sealed, key);
      await put(
        sealed,
        key,
        forgeDocument(before, (fields) => {
          fields[field] = value;
        }),
      );
      await expect(get(sealed.volumeId), field).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged' });
      await put(sealed, key, before);
      await expect(get(sealed.volumeId)).resolves.toMatchObject({ name: 'golden' });
    }
  });

  it('are damage with a field added or taken away', async () => {
    const key = entryOf(sealed.volumeId);
    const before = await bytesOf(sealed, key);
    for (const change of [
      (fields: Record<string, unknown>) => {
        fields['name'] = 'mine';
      },
      (fields: Record<string, unknown>) => {
        fields['epoch'] = 1;
      },
      (fields: Record<string, unknown>) => {
        delete fields['accountId'];
      },
      (fields: Record<string, unknown>) => {
        delete fields['sealed'];
      },
    ]) {
      await put(sealed, key, forgeDocument(before, change));
      await expect(get(sealed.volumeId)).rejects.toMatchObject({ kind: 'corrupt', code: 'object-damaged' });
    }
  });

  it('are damage when two are exchanged, or an older one comes under a newer version', async () => {
    const other = await scene(sealed.options);
    const key = entryOf(sealed.volumeId);
    const from = await bytesOf(other, entryOf(other.volumeId));
    await put(
      sealed,
      key,
      forgeDocument(from, (fields) => {
        Object.assign(fields, { key, volumeId: sealed.volumeId });
      }),
    );
    await expect(get(sealed.volumeId)).rejects.toMatchObject({ kind: 'corrupt' });
    const older = await bytesOf(other, entryOf(other.volumeId));
    await new Catalog(sealed.options).updateVolume(other.volumeId, (entry) => ({ ...entry, name: 'renamed' }));
    await put(
      other,
      entryOf(other.volumeId),
      forgeDocument(older, (fields) => {
        fields['version'] = 3;
      }),
    );
    await expect(get(other.volumeId)).rejects.toMatchObject({ kind: 'corrupt' });
  });

  it('are told to need the key when none is given', async () => {
    const { keys: _keys, ...options } = sealed.options;
    await expect(new Catalog(options).getVolume(sealed.volumeId)).rejects.toMatchObject({
      kind: 'denied',
      code: 'key-needed',
    });
    await expect(openVolumeView(options, sealed.volumeId)).rejects.toMatchObject({
      kind: 'denied',
      code: 'key-needed',
    });
  });
});
