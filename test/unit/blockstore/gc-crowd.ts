/** A store with one of everything that gc meets, and what must read the same whatever becomes of gc. */
import { createSnapshot, openVolumeWriter, type SnapshotEntry } from '../../../src/core/blockstore/index.ts';
import { DAY, GcRig, HookedStore, fillBlock, type Model } from './gc-rig.ts';
import { ACCOUNT, encodeBlocks, holder } from './volume-model.ts';

let template: Promise<Crowd> | undefined;

export class Crowd {
  readonly rig: GcRig;
  readonly volumes: Model[] = [];
  readonly snapshots: { readonly entry: SnapshotEntry; readonly image: Buffer }[] = [];

  private constructor(rig: GcRig) {
    this.rig = rig;
  }

  static async gather(): Promise<Crowd> {
    template ??= Crowd.#make();
    const made = await template;
    const crowd = new Crowd(await made.rig.copy());
    crowd.volumes.push(...made.volumes.map(({ entry, image }) => ({ entry, image: Buffer.from(image) })));
    crowd.snapshots.push(...made.snapshots);
    return crowd;
  }

  static async #make(): Promise<Crowd> {
    const rig = await GcRig.start();
    const crowd = new Crowd(rig);
    const golden = await rig.volume('golden');
    const old = await rig.volume('old');
    const purged = await rig.volume('purged');
    for (const value of [1, 2, 3]) for (const model of [golden, old, purged]) await rig.write(model, value, [0, 1]);
    await rig.deleteVolume(purged);
    rig.clock.move(7 * DAY);
    await rig.deleteVolume(old);
    await crowd.#snapshots(golden);
    await crowd.#leaveBehind(golden);
    crowd.volumes.push(golden, old);
    return crowd;
  }

  /** A live snapshot, a clone of one that is deleted, and a deleted one with a map of its own. */
  async #snapshots(golden: Model): Promise<void> {
    const { rig } = this;
    this.snapshots.push({ entry: await rig.snapshot(golden, 'kept'), image: Buffer.from(golden.image) });
    await rig.write(golden, 4, [0]);
    const cloned = await rig.snapshot(golden, 'cloned');
    this.volumes.push(await rig.volume('clone', cloned, golden.image));
    const writer = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
    fillBlock(golden.image, 2, 5);
    await writer.commit({ encoded: [encodeBlocks(golden.image, [2])], consistent: true });
    const gone = await rig.snapshot(golden, 'gone');
    await writer.close();
    await rig.write(golden, 6, [1, 2]);
    await rig.deleteSnapshot(cloned);
    await rig.deleteSnapshot(gone);
  }

  /** A snapshot that stays pending, a volume whose creator died, and commits above the checkpoint. */
  async #leaveBehind(golden: Model): Promise<void> {
    const { rig } = this;
    const dies = new HookedStore(rig.below, ({ operation, key, replaces }) => {
      const isLast = key.endsWith('volume.json') || (key.endsWith('snapshot.json') && replaces);
      if (operation === 'put' && isLast) throw new Error('killed');
    });
    const request = { volume: golden.entry, name: 'pending', accountId: ACCOUNT };
    await createSnapshot(rig.over(dies), request).catch(() => undefined);
    const { Catalog } = await import('../../../src/core/blockstore/index.ts');
    const volume = { name: 'begun', sizeBytes: 4096, accountId: ACCOUNT };
    await new Catalog(rig.over(dies, 98)).createVolume(volume).catch(() => undefined);
    const writer = await openVolumeWriter(rig.options, golden.entry.volumeId, { holder, accountId: ACCOUNT });
    fillBlock(golden.image, 3, 7);
    await writer.commit({ encoded: [encodeBlocks(golden.image, [3])], consistent: true });
    await writer.abandon();
  }

  /** What does not read as it should. */
  async broken(): Promise<string[]> {
    const broken: string[] = [];
    for (const model of this.volumes) {
      if (!(await this.rig.readsAs(model).catch(() => false))) broken.push(model.entry.name);
    }
    for (const { entry, image } of this.snapshots) {
      if (!(await this.rig.snapshotReadsAs(entry, image).catch(() => false))) broken.push(entry.name);
    }
    return broken;
  }
}
