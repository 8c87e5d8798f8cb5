import { open, readFile, stat, truncate, utimes, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { SgwError } from '../../../src/core/kit/index.ts';
import { verifyView } from '../../../src/core/transfer/index.ts';
import { Rig, writeSparse } from './rig.ts';

const KIB = 1024;
const MIB = 1024 * KIB;

/** Stops at the `count`th report. */
function stopAt(count: number, stop: AbortController): () => void {
  let reports = 0;
  return () => {
    reports += 1;
    if (reports === count) stop.abort();
  };
}

describe('import and export', () => {
  let rig: Rig;
  beforeAll(async () => {
    rig = await Rig.start();
  });
  afterAll(async () => {
    await rig[Symbol.asyncDispose]();
  });

  const sizes = [0, 1, 511, 4095, 4096, 4097, 65535, 65536, 65537, 100_001, 4 * MIB, 4 * MIB + 12_345];
  test.each(sizes)('an image of %i bytes comes back byte for byte', async (size) => {
    const path = rig.path('image');
    await writeSparse(path, size, [{ offset: 0, length: size }]);
    const volume = await rig.newVolume(size);
    const report = await rig.import(volume, path);
    expect(report.readBytes).toBe(size);
    expect((await rig.view(volume)).sizeBytes).toBe(size);
    expect(await rig.readsAs(volume, path)).toBe(true);
  });

  test('an image of zeroes stores no page, and ends in a consistent commit', async () => {
    const path = rig.path('zeroes');
    await writeFile(path, Buffer.alloc(3 * MIB));
    const volume = await rig.newVolume(3 * MIB);
    const report = await rig.import(volume, path);
    expect(report).toMatchObject({ changedBytes: 0, storedBytes: 0, committed: true });
    expect((await rig.snapshotView(volume)).map.mappedPages).toBe(0);
    expect(await rig.readsAs(volume, path)).toBe(true);
  });

  test('16 TiB with three written pages are quick, and the export is as sparse', async () => {
    const TIB = 1024 ** 4;
    const path = rig.path('large');
    const pieces = [5 * MIB, 3 * TIB + 8192, 15 * TIB].map((offset) => ({ offset, length: 4096 }));
    const isPossible = await writeSparse(path, 15 * TIB + 4096, pieces).then(
      () => true,
      () => false,
    );
    if (!isPossible) await writeSparse(path, 3 * TIB + 12288, pieces.slice(0, 2));
    const { size } = await stat(path);
    const volume = await rig.newVolume(size);
    const report = await rig.import(volume, path);
    expect(report.changedBytes).toBe((isPossible ? 3 : 2) * 4096);
    const out = rig.path('large-out');
    await rig.export(await rig.view(volume), out);
    const exported = await stat(out);
    expect(exported.size).toBe(size);
    expect(exported.blocks * 512).toBeLessThan(256 * KIB);
    const handle = await open(out, 'r');
    const source = await open(path, 'r');
    for (const { offset } of isPossible ? pieces : pieces.slice(0, 2)) {
      const [a, b] = [Buffer.alloc(4096), Buffer.alloc(4096)];
      await handle.read(a, 0, 4096, offset);
      await source.read(b, 0, 4096, offset);
      expect(a.equals(b)).toBe(true);
    }
    await handle.close();
    await source.close();
  });

  test('many segments: incompressible data beyond several segment targets', async () => {
    const path = rig.path('many');
    await writeSparse(path, 40 * MIB + 7, [{ offset: 0, length: 40 * MIB + 7 }]);
    const volume = await rig.newVolume(40 * MIB + 7);
    await rig.import(volume, path);
    const view = await rig.view(volume);
    expect(view.seq).toBeGreaterThan(2);
    expect(await rig.readsAs(volume, path)).toBe(true);
    const verified = await verifyView({ pool: rig.pool, view });
    expect(verified.checkedBytes).toBe(40 * MIB + 4096);
    expect(verified.checkedObjects).toBe(view.seq);
  });

  test('an unchanged image commits nothing; a changed page, a hole and growth commit only themselves', async () => {
    const path = rig.path('into');
    await writeSparse(path, 9 * MIB, [
      { offset: 0, length: 2 * MIB },
      { offset: 8 * MIB, length: 64 * KIB },
    ]);
    const volume = await rig.newVolume(9 * MIB);
    await rig.import(volume, path);
    const { seq } = await rig.view(volume);
    expect(await rig.import(volume, path, { diff: true })).toMatchObject({
      changedBytes: 0,
      zeroedBytes: 0,
      committed: false,
    });
    expect((await rig.view(volume)).seq).toBe(seq);

    const handle = await open(path, 'r+');
    await handle.write(Buffer.alloc(10, 7), 0, 10, MIB + 5000);
    await handle.write(Buffer.alloc(4096), 0, 4096, 8192);
    await handle.close();
    expect(await rig.import(volume, path, { diff: true })).toMatchObject({ changedBytes: 4096, zeroedBytes: 4096 });
    expect(await rig.readsAs(volume, path)).toBe(true);

    await truncate(path, 8 * MIB);
    await truncate(path, 10 * MIB + 100);
    expect(await rig.import(volume, path, { diff: true })).toMatchObject({
      changedBytes: 0,
      zeroedBytes: 64 * KIB,
      committed: true,
    });
    expect(await rig.readsAs(volume, path)).toBe(true);
  });

  test('an image smaller than the volume is refused with the way out', async () => {
    const path = rig.path('small');
    await writeSparse(path, MIB, []);
    const volume = await rig.newVolume(2 * MIB);
    const failure = await rig.import(volume, path, { diff: true }).catch((error: unknown) => error);
    expect(failure).toBeInstanceOf(SgwError);
    expect(failure).toMatchObject({
      kind: 'invalid',
      code: 'image-smaller',
      hint: expect.stringMatching(/sgw volume resize vol-[0-9a-f]{17} --size [0-9]+ --shrink$/) as string,
    });
    expect((failure as SgwError).hint).toContain('--shrink');
  });

  test('an image that is written meanwhile gives image-changed and leaves the volume unfinished', async () => {
    const path = rig.path('moving');
    await writeSparse(path, 40 * MIB, [{ offset: 0, length: 40 * MIB }]);
    const volume = await rig.newVolume(40 * MIB);
    let touched: Promise<void> | undefined;
    const failure = await rig
      .import(volume, path, { onProgress: () => void (touched ??= utimes(path, 1, 1)) })
      .catch((error: unknown) => error);
    await touched;
    expect(failure).toMatchObject({ kind: 'conflict', code: 'image-changed' });
    await expect(rig.snapshotView(volume)).rejects.toMatchObject({ code: 'import-unfinished' });
  });

  test('an import stopped half-way goes on: what was committed is not committed again', async () => {
    const path = rig.path('stopped');
    await writeSparse(path, 64 * MIB, [{ offset: 0, length: 64 * MIB }]);
    const volume = await rig.newVolume(64 * MIB);
    const stop = new AbortController();
    const failure = await rig
      .import(volume, path, { signal: stop.signal, onProgress: stopAt(9, stop) })
      .catch((error: unknown) => error);
    expect(failure).toMatchObject({ kind: 'aborted' });
    const kept = (await rig.view(volume)).map.mappedPages;
    expect(kept).toBeGreaterThan(0);
    await expect(rig.snapshotView(volume)).rejects.toMatchObject({ code: 'import-unfinished' });
    const report = await rig.import(volume, path, { diff: true, resume: true });
    expect(report.changedBytes).toBe(64 * MIB - kept * 4096);
    expect(await rig.readsAs(volume, path)).toBe(true);
    expect((await rig.snapshotView(volume)).map.mappedPages).toBe(16384);
  });

  test('an import that was whole but for its end is ended by a consistent commit', async () => {
    const path = rig.path('ended');
    await writeSparse(path, MIB, [{ offset: 0, length: MIB }]);
    const volume = await rig.newVolume(MIB);
    await rig.import(volume, path);
    expect(await rig.import(volume, path, { diff: true, resume: true })).toMatchObject({
      changedBytes: 0,
      committed: true,
    });
  });

  test('an export stopped half-way goes on from its watermark', async () => {
    const path = rig.path('resume');
    await writeSparse(path, 64 * MIB + 9, [
      { offset: 0, length: 30 * MIB },
      { offset: 40 * MIB, length: 24 * MIB + 9 },
    ]);
    const volume = await rig.newVolume(64 * MIB + 9);
    await rig.import(volume, path);
    const view = await rig.view(volume);
    const out = rig.path('resume-out');
    const stop = new AbortController();
    const stopped = rig.export(view, out, { signal: stop.signal, onProgress: stopAt(8, stop) });
    await expect(stopped).rejects.toMatchObject({ kind: 'aborted' });
    const report = await rig.export(view, out);
    expect(report.resumedFrom).toBeGreaterThan(0);
    expect(report.writtenBytes).toBeLessThan(report.dataBytes);
    expect(report.dataBytes).toBe(54 * MIB + 9);
    expect((await readFile(out)).equals(await readFile(path))).toBe(true);
  });

  test('a resumed export finds what was changed in the part that it does not write, and starts anew', async () => {
    const path = rig.path('tampered');
    await writeSparse(path, 32 * MIB, [{ offset: 0, length: 32 * MIB }]);
    const volume = await rig.newVolume(32 * MIB);
    await rig.import(volume, path);
    const view = await rig.view(volume);
    const out = rig.path('tampered-out');
    const stop = new AbortController();
    const stopped = rig.export(view, out, { signal: stop.signal, onProgress: stopAt(5, stop) });
    await expect(stopped).rejects.toMatchObject({ kind: 'aborted' });
    const partial = rig.path('.tampered-out.sgw-partial');
    await writeFile(partial, 'changed', { flag: 'r+' });
    await expect(rig.export(view, out)).rejects.toMatchObject({ code: 'output-changed', details: { offset: 0 } });
    expect((await rig.export(view, out)).resumedFrom).toBe(0);
    expect((await readFile(out)).equals(await readFile(path))).toBe(true);
  });

  test('one process may export to the same path again', async () => {
    const path = rig.path('again');
    await writeSparse(path, MIB, [{ offset: 0, length: MIB }]);
    const volume = await rig.newVolume(MIB);
    await rig.import(volume, path);
    const view = await rig.view(volume);
    const out = rig.path('again-out');
    for (let round = 0; round < 3; round++) {
      await rig.export(view, out);
      expect((await readFile(out)).equals(await readFile(path))).toBe(true);
    }
  });
});
