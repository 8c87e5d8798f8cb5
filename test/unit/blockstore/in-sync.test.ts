/** C26: the in-sync set in the head, and who may take a volume over that is in a group. */
import { beforeEach, describe, expect, it } from 'vitest';
import {
  Catalog,
  createStore,
  openVolumeWriter,
  type BlockStoreOptions,
  type Head,
  type VolumeEntry,
  type VolumeWriter,
} from '../../../src/core/blockstore/index.ts';
import { MIB, seededRandom, SgwError } from '../../../src/core/kit/index.ts';
import { memoryStore, type PutBody, type PutOptions, type PutResult } from '../../../src/core/objectstore/index.ts';
import { StoreLayer } from '../../../src/core/objectstore/layer.ts';
import { ACCOUNT, encodeBlocks, holder, optionsOver, otherHolder, stamp } from './volume-model.ts';

const SELF = holder.gatewayId;
const PEER = otherHolder.gatewayId;
const third = { gatewayId: 'sgw-00000003', name: 'cellar' };
const seed = Number(process.env['SGW_SEED'] ?? 26);

/** What happens to a PUT of the head: its reply is lost, with or without effect; it is held back until it is let go. */
type Fate = 'lost-reply' | 'lost' | 'late' | 'slow' | undefined;

class HeadFaults extends StoreLayer {
  fate: () => Fate = () => undefined;
  /** PUTs that are still on their way. */
  readonly late: (() => Promise<PutResult>)[] = [];

  override async put(key: string, body: PutBody, options?: PutOptions): Promise<PutResult> {
    const fate = key.endsWith('head.json') ? this.fate() : undefined;
    const away = new SgwError('unavailable', 'store-error', 'the store is away');
    const copy = Buffer.isBuffer(body) ? Buffer.from(body) : body;
    if (fate === 'late') this.late.push(() => super.put(key, copy, options));
    if (fate === 'late' || fate === 'lost') throw away;
    const result = await super.put(key, body, options);
    if (fate === 'slow') for (let turn = 0; turn < 20; turn++) await Promise.resolve();
    if (fate === 'lost-reply') throw away;
    return result;
  }
}

let objects: HeadFaults;
let options: BlockStoreOptions;
let volume: VolumeEntry;

const open = async (how: Partial<Parameters<typeof openVolumeWriter>[2]> = {}): Promise<VolumeWriter> =>
  await openVolumeWriter(options, volume.volumeId, { holder, accountId: ACCOUNT, ...how });
const headNow = async (): Promise<Head> => await new Catalog(options).headOf(volume.volumeId);
const member = (gatewayId: string, acceptLoss = false): { condition: { member: string; acceptLoss: boolean } } => ({
  condition: { member: gatewayId, acceptLoss },
});

beforeEach(async () => {
  objects = new HeadFaults(memoryStore());
  options = optionsOver(objects);
  await createStore(options);
  volume = await new Catalog(options).createVolume({ name: 'golden', sizeBytes: MIB, accountId: ACCOUNT });
});

describe('C26: the in-sync set', () => {
  it('is empty outside a group, and durable where it was set', async () => {
    const writer = await open();
    expect(writer.inSync).toEqual([]);
    await writer.setInSync([SELF, PEER]);
    expect(writer.inSync).toEqual([SELF, PEER]);
    expect((await headNow()).inSync).toEqual([SELF, PEER]);
    await writer.setInSync([]);
    expect((await headNow()).inSync).toEqual([]);
  });

  it('survives checkpoints that are made at the same time, and they survive it', async () => {
    const writer = await open();
    const image = Buffer.alloc(MIB);
    const random = seededRandom(seed);
    objects.fate = () => (random.float() < 0.5 ? 'slow' : undefined);
    for (let round = 0; round < 20; round++) {
      stamp(round).copy(image);
      const members = round % 2 === 0 ? [SELF, PEER] : [SELF];
      await Promise.all([
        writer.commit({ encoded: [encodeBlocks(image, [0])], consistent: true }).then(() => writer.checkpoint()),
        writer.setInSync([SELF, third.gatewayId]),
        writer.setInSync(members),
      ]);
      const head = await headNow();
      expect(head.inSync).toEqual(members);
      expect(writer.inSync).toEqual(members);
      expect(head.checkpoint.seq).toBe(writer.seq);
    }
  });

  it('goes on where a reply was lost, and what comes late has no effect', async () => {
    const random = seededRandom(seed);
    const fates = ['lost-reply', 'lost', 'late'] as const;
    const seen = new Set<string>();
    for (let round = 0; round < 60; round++) {
      const writer = await open();
      await writer.setInSync([SELF]);
      objects.fate = () => fates[Math.floor(random.float() * 3)];
      await writer.setInSync([SELF, PEER]).catch((error: unknown) => {
        expect(error).toMatchObject({ kind: 'unavailable' });
      });
      seen.add((await headNow()).inSync.join());
      objects.fate = () => undefined;
      if (random.float() < 0.5) for (const put of objects.late.splice(0)) await put();
      await writer.setInSync([SELF]);
      for (const put of objects.late.splice(0)) expect((await put()).outcome).not.toBe('stored');
      expect((await headNow()).inSync).toEqual([SELF]);
      expect(writer.inSync).toEqual([SELF]);
      await writer.abandon();
    }
    expect([...seen].sort()).toEqual([SELF, `${SELF},${PEER}`]);
  });

  it('can not be changed by who was taken over: shrinking and taking over exclude each other', async () => {
    const writer = await open();
    await writer.setInSync([SELF, PEER]);
    await open({ holder: otherHolder, ...member(PEER) });
    await expect(writer.setInSync([SELF])).rejects.toMatchObject({ kind: 'fenced' });
    expect((await headNow()).inSync).toEqual([PEER]);
  });

  it('shrinking and taking over at the same moment: one of them fails', async () => {
    const random = seededRandom(seed);
    const won = new Set<string>();
    for (let round = 0; round < 40; round++) {
      const writer = await open(member(SELF, true));
      await writer.setInSync([SELF, PEER]);
      objects.fate = () => (random.float() < 0.5 ? 'slow' : undefined);
      const shrink = async (): Promise<string> => {
        if (random.float() < 0.5) for (let turn = random.float() * 30; turn > 0; turn--) await Promise.resolve();
        await writer.setInSync([SELF]);
        return 'shrunk';
      };
      const takeOver = async (): Promise<string> => {
        if (random.float() < 0.5) for (let turn = random.float() * 30; turn > 0; turn--) await Promise.resolve();
        const other = await open({ holder: otherHolder, ...member(PEER) });
        await other.abandon();
        return 'taken';
      };
      const results = await Promise.allSettled([shrink(), takeOver()]);
      const done = results.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
      expect(done.length).toBe(1);
      won.add(done[0] as string);
      const [reason] = results.flatMap((result) => (result.status === 'rejected' ? [result.reason as SgwError] : []));
      expect(done[0] === 'shrunk' ? reason?.code : reason?.kind).toBe(done[0] === 'shrunk' ? 'not-in-sync' : 'fenced');
      expect((await headNow()).inSync).toEqual([done[0] === 'shrunk' ? SELF : PEER]);
      objects.fate = () => undefined;
      await writer.abandon();
    }
    expect(won.size).toBe(2);
  });
});

describe('C26: opening a volume that is in a group', () => {
  beforeEach(async () => {
    const writer = await open();
    await writer.setInSync([SELF, PEER]);
    await writer.abandon();
  });

  it('keeps the set for the same holder', async () => {
    expect((await open()).inSync).toEqual([SELF, PEER]);
    expect((await open({ takeOver: true })).inSync).toEqual([SELF, PEER]);
    expect((await open(member(SELF))).inSync).toEqual([SELF, PEER]);
    expect((await headNow()).epoch).toBe(4);
  });

  it('makes a member that takes over the only one', async () => {
    const writer = await open({ holder: otherHolder, ...member(PEER) });
    expect(writer.inSync).toEqual([PEER]);
    expect(await headNow()).toMatchObject({ holder: otherHolder, inSync: [PEER], epoch: 2 });
  });

  it('is refused to others, also with --take-over, and changes nothing', async () => {
    const before = await headNow();
    await expect(open({ holder: third })).rejects.toMatchObject({ kind: 'conflict', code: 'volume-held' });
    const taking = open({ holder: third, takeOver: true });
    await expect(taking).rejects.toMatchObject({ code: 'volume-in-group', hint: expect.stringContaining('failover') });
    await expect(open({ holder: otherHolder, takeOver: true })).rejects.toMatchObject({ code: 'volume-in-group' });
    const notMember = open({ holder: third, ...member(third.gatewayId) });
    await expect(notMember).rejects.toMatchObject({ kind: 'conflict', code: 'not-in-sync' });
    expect(await headNow()).toEqual(before);
  });

  it('is given to anybody who accepts the loss', async () => {
    const writer = await open({ holder: third, ...member(third.gatewayId, true) });
    expect(writer.inSync).toEqual([third.gatewayId]);
    await expect(open(member(SELF))).rejects.toMatchObject({ code: 'not-in-sync' });
  });

  it('is refused to a member that the set was shrunk by', async () => {
    await (await open()).setInSync([SELF]);
    const late = open({ holder: otherHolder, ...member(PEER) });
    await expect(late).rejects.toMatchObject({ code: 'not-in-sync', details: { inSync: [SELF] } });
  });

  it('finds its way back where the reply of the take-over was lost', async () => {
    objects.fate = () => 'lost-reply';
    await expect(open({ holder: otherHolder, ...member(PEER) })).rejects.toMatchObject({ kind: 'unavailable' });
    objects.fate = () => undefined;
    expect(await headNow()).toMatchObject({ holder: otherHolder, inSync: [PEER] });
    expect((await open({ holder: otherHolder, ...member(PEER) })).inSync).toEqual([PEER]);
  });

  it('leaves no set behind when it is closed in order: the store has everything', async () => {
    const writer = await open();
    await writer.close();
    expect(await headNow()).toMatchObject({ holder: null, inSync: [] });
    expect((await open({ holder: third })).inSync).toEqual([]);
  });

  it('is left by setting the set to nobody', async () => {
    await (await open()).setInSync([]);
    expect((await open({ holder: third, takeOver: true })).inSync).toEqual([]);
  });
});
