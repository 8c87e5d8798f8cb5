/** What a simulated program works with. */
import type { BlockStoreOptions, Catalog } from '../../../src/core/blockstore/index.ts';
import { SgwError, type Clock } from '../../../src/core/kit/index.ts';
import type { Auditor } from '../auditor.ts';
import type { Choices } from '../random.ts';
import type { Tally } from '../tally.ts';
import { Violation, type VolumeLedger } from '../volume-ledger.ts';
import type { Process } from '../world.ts';

export interface SimSettings {
  readonly graceMs: number;
  /** What gc is told. */
  readonly gcGraceMs: number;
  readonly undeleteMs: number;
  /** How often a pause is a long one. */
  readonly idle: number;
  readonly volumesMax: number;
  readonly snapshotsMax: number;
}

export interface Actor {
  readonly process: Process;
  readonly options: BlockStoreOptions;
  readonly catalog: Catalog;
  readonly clock: Clock;
  readonly choices: Choices;
  readonly auditor: Auditor;
  readonly tally: Tally;
  readonly settings: SimSettings;
  /** True once the run is to end: finish what is under way, begin nothing. */
  readonly closing: () => boolean;
  /** Puts a line into the trace. */
  readonly note: (text: string) => void;
  /** The next number that no commit had yet. */
  readonly stamp: () => number;
}

/**
 * Waits: a moment, or, as often as the run's pace says, for up to some grace periods, so that they pass within a run.
 * `periods` above one is for those who act rarely.
 */
export async function pause(actor: Actor, periods = 1): Promise<void> {
  const { choices, settings } = actor;
  const { graceMs, idle } = settings;
  const isLong = choices.chance(idle);
  await actor.clock.sleep(isLong ? choices.durationMs(graceMs / 20, 4 * graceMs * periods) : choices.integer(0, 400));
}

/** Volumes that were created and not deleted. */
export const liveVolumes = (actor: Actor): VolumeLedger[] =>
  [...actor.auditor.volumes.values()].filter((ledger) => ledger.acknowledged && ledger.deletion === 'none');

const EXPECTED = ['unavailable', 'timeout', 'conflict', 'fenced', 'notFound', 'aborted'] as const;

/**
 * Runs one operation of an actor. Failures that the caller is told about are part of life; damage and bugs are not,
 * except where `excused` says that what it worked on went away rightfully.
 */
export async function attempt(
  actor: Actor,
  name: string,
  work: () => Promise<void>,
  excused: (error: SgwError) => boolean = () => false,
): Promise<boolean> {
  try {
    await work();
    actor.tally.event(`${name} done`);
    return true;
  } catch (error) {
    if (error instanceof Violation) throw error;
    if (!(error instanceof SgwError)) throw error;
    if (!EXPECTED.some((kind) => kind === error.kind) && !excused(error)) {
      throw new Violation(`${actor.process.name}: ${name} ended with ${error.kind} ${error.code}: ${error.message}`, {
        cause: error,
      });
    }
    actor.tally.event(`${name} failed: ${error.kind} ${error.code}`);
    actor.note(`${name} failed: ${error.kind} ${error.code}`);
    return false;
  }
}
