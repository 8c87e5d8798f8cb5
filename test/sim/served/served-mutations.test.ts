/**
 * Whether the prefix oracle can fail: the write log, the uploader and the opening are broken on purpose, one line each, and
 * the simulation has to notice within a few seeds. Without a mutation the same seeds pass.
 */
import { afterEach, describe, expect, it, vi } from 'vitest';
import { Barriers } from '../../../src/core/volume/barriers.ts';
import * as logPosition from '../../../src/core/volume/log-position.ts';
import { SealPlan } from '../../../src/core/volume/seal-plan.ts';
import { Appender } from '../../../src/core/writelog/appender.ts';
import { Syncer } from '../../../src/core/writelog/syncer.ts';
import { FileWriteLog } from '../../../src/core/writelog/write-log.ts';
import { ServedSimulation } from './served-simulation.ts';

const SEEDS = 40;
const STEPS = 200;

vi.mock('../../../src/core/volume/log-position.ts', { spy: true });
const { positionOf: realPosition } = await vi.importActual<typeof logPosition>(
  '../../../src/core/volume/log-position.ts',
);

/** The first failure within a few seeds. */
async function firstFailure(seeds = SEEDS): Promise<Error | undefined> {
  for (let seed = 1; seed <= seeds; seed++) {
    const { failure } = await new ServedSimulation({ seed, steps: STEPS }).run();
    if (failure !== undefined) return failure;
  }
  return undefined;
}

afterEach(() => {
  vi.mocked(logPosition.positionOf).mockImplementation(realPosition);
});

describe('a served volume that is broken on purpose', { timeout: 240_000 }, () => {
  it('by nothing passes', async () => {
    expect(await firstFailure(4)).toBeUndefined();
  });

  it('C13 a group commit whose sync is left out', async () => {
    vi.spyOn(Syncer.prototype, 'sync').mockResolvedValue();
    expect((await firstFailure())?.message).toMatch(
      /^C5 .* writes are lost|were durable: records .* are lost|the first page of \S+ is damaged/,
    );
  });

  it('C13 an acknowledgement before the record is in the file', async () => {
    let pending: Appender[] = [];
    vi.spyOn(Appender.prototype, 'group').mockImplementation(async function (this: Appender) {
      // Written only when the next one comes.
      for (const appender of pending) if (appender !== this) appender.commit();
      pending = [this];
      await Promise.resolve();
    });
    expect((await firstFailure())?.message).toMatch(/^C5/);
  });

  it('C5 a log that counts records as uploaded before their commit', async () => {
    const { records } = FileWriteLog.prototype;
    vi.spyOn(FileWriteLog.prototype, 'records').mockImplementation(function (this: FileWriteLog, from, bytes) {
      const found = records.call(this, from, bytes);
      const last = found.at(-1)?.sequence;
      if (last !== undefined) this.uploaded(last);
      return found;
    });
    expect(await firstFailure()).toBeInstanceOf(Error);
  });

  it('C4 a replay that begins one record too late', async () => {
    vi.mocked(logPosition.positionOf).mockImplementation((found, store) => {
      const position = realPosition(found, store);
      return { ...position, uploadedSequence: Math.min(position.uploadedSequence + 1, found.lastSequence) };
    });
    expect((await firstFailure())?.message).toMatch(/^C5/);
  });

  it('C4 a log that is replayed although the store has overtaken it', async () => {
    vi.mocked(logPosition.positionOf).mockImplementation((found, store) => {
      const { uploadedSequence } = realPosition(found, store);
      return { kind: 'continues', uploadedSequence };
    });
    expect((await firstFailure())?.message).toMatch(/^C[15]|the store has records up to/);
  });

  it('C8 a segment that goes on behind a barrier', async () => {
    vi.spyOn(SealPlan.prototype, 'accepts').mockReturnValue(true);
    expect((await firstFailure())?.message).toMatch(/^C8/);
  });

  it('C8 a barrier that is passed by', async () => {
    vi.spyOn(Barriers.prototype, 'reached').mockResolvedValue();
    expect((await firstFailure())?.message).toMatch(/^C8 .* is pending/);
  });
});
