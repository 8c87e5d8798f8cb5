/**
 * Model test of `volume import --into`: random edits of an image, imported again and again, against the image itself.
 * Reruns one case with SGW_SEED.
 */
import fc from 'fast-check';
import { open, readFile, truncate } from 'node:fs/promises';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { openVolumeView } from '../../src/core/blockstore/index.ts';
import { seededRandom } from '../../src/core/kit/index.ts';
import { Rig, writeSparse } from '../unit/transfer/rig.ts';

const PAGE = 4096;
const SIZE_MAX = 5 * 1024 * 1024;

type Edit =
  | { readonly kind: 'write' | 'zero'; readonly offset: number; readonly length: number; readonly seed: number }
  | { readonly kind: 'grow'; readonly bytes: number };

const edit = fc.oneof(
  fc.record({
    kind: fc.constantFrom('write' as const, 'zero' as const),
    offset: fc.nat(SIZE_MAX),
    length: fc.oneof(fc.integer({ min: 1, max: 100 }), fc.integer({ min: 1, max: 300_000 })),
    seed: fc.nat(),
  }),
  fc.record({ kind: fc.constant('grow' as const), bytes: fc.nat(200_000) }),
);
const rounds = fc.record({
  sizeBytes: fc.integer({ min: 0, max: SIZE_MAX }),
  rounds: fc.array(fc.array(edit, { maxLength: 6 }), { minLength: 1, maxLength: 5 }),
});

let rig: Rig;
beforeAll(async () => {
  rig = await Rig.start();
});
afterAll(async () => {
  await rig[Symbol.asyncDispose]();
});

/** Edits the file and returns its contents. */
async function apply(path: string, edits: readonly Edit[]): Promise<Buffer> {
  for (const step of edits) {
    const bytes = await readFile(path);
    if (step.kind === 'grow') {
      await truncate(path, bytes.length + step.bytes);
      continue;
    }
    const length = Math.min(step.length, bytes.length - step.offset);
    if (length <= 0) continue;
    const handle = await open(path, 'r+');
    await handle.write(
      step.kind === 'zero' ? Buffer.alloc(length) : seededRandom(step.seed).bytes(length),
      0,
      length,
      step.offset,
    );
    await handle.close();
  }
  return await readFile(path);
}

/** Pages of `after` that hold data and differ from `before`, and pages that hold none but did. */
function pageChanges(before: Buffer, after: Buffer): { changed: number; zeroed: number } {
  const counts = { changed: 0, zeroed: 0 };
  const pageOf = (bytes: Buffer, page: number): Buffer =>
    Buffer.concat([bytes.subarray(page * PAGE, (page + 1) * PAGE), Buffer.alloc(PAGE)], PAGE);
  for (let page = 0; page * PAGE < after.length; page++) {
    const [old, now] = [pageOf(before, page), pageOf(after, page)];
    if (old.equals(now)) continue;
    if (now.every((byte) => byte === 0)) counts.zeroed += 1;
    else counts.changed += 1;
  }
  return counts;
}

test('importing an edited image commits just the pages that changed, and the volume reads as the image', async () => {
  let cases = 0;
  await fc.assert(
    fc.asyncProperty(rounds, async (script) => {
      const path = rig.path(`image-${String(cases++)}`);
      await writeSparse(path, script.sizeBytes, [{ offset: 0, length: Math.floor(script.sizeBytes / 3) }], cases);
      const volume = await rig.newVolume(script.sizeBytes);
      await rig.import(volume, path);
      let before: Buffer = await readFile(path);
      for (const edits of script.rounds) {
        const seqBefore = (await openVolumeView(rig.blocks, volume)).seq;
        const after = await apply(path, edits);
        const expected = pageChanges(before, after);
        const report = await rig.import(volume, path, { diff: true });
        expect(report.changedBytes).toBe(expected.changed * PAGE);
        expect(report.zeroedBytes).toBe(expected.zeroed * PAGE);
        const differs = expected.changed + expected.zeroed > 0 || after.length !== before.length;
        expect(report.committed).toBe(differs);
        expect((await openVolumeView(rig.blocks, volume)).seq).toBe(seqBefore + (differs ? 1 : 0));
        before = after;
      }
      expect(await rig.readsAs(volume, path)).toBe(true);
    }),
    { numRuns: 12, ...(process.env['SGW_SEED'] === undefined ? {} : { seed: Number(process.env['SGW_SEED']) }) },
  );
}, 120_000);
