/**
 * What a scrub has found of each segment, so that a walk through a map can tell of every run whether it can be read
 * without reading it again. About 200 bytes a segment.
 */
import type { SgwError } from '../../kit/index.ts';
import { damaged, isCorrupt, missing } from '../damage.ts';
import type { DataReading } from '../options.ts';
import type { PageRun } from '../page-map.ts';
import { readSegmentIndex } from '../segment-reader.ts';

export interface SegmentFinding {
  /** Undefined when the segment can't tell any more. */
  readonly segmentId: string | undefined;
  readonly frameCount: number;
  /** Set when something is wrong with it. */
  readonly fault?: SegmentFault;
}

export interface SegmentFault {
  readonly error: SgwError;
  /** Frames that can't be read; none when only bytes are hurt that no reader needs. */
  readonly frames: 'all' | ReadonlySet<number>;
}

export class SegmentBook {
  readonly #reading: DataReading;
  readonly #findings = new Map<string, SegmentFinding>();

  constructor(reading: DataReading) {
    this.#reading = reading;
  }

  note(key: string, finding: SegmentFinding): void {
    this.#findings.set(key, finding);
  }

  /** Why a run can't be read; undefined when it can. Segments that were not listed are looked up. */
  async faultOf(run: PageRun, signal?: AbortSignal): Promise<SgwError | undefined> {
    const { key, segmentId } = run.source;
    const found = this.#findings.get(key) ?? (await this.#lookUp(key, signal));
    if (found === undefined) return missing(key);
    const { fault } = found;
    if (fault !== undefined && (fault.frames === 'all' || fault.frames.has(run.frame))) return fault.error;
    if (found.segmentId !== segmentId)
      return damaged(key, `it is segment ${String(found.segmentId)}, not ${segmentId}`);
    return run.frame < found.frameCount ? undefined : damaged(key, `it has no frame ${String(run.frame)}`);
  }

  async #lookUp(key: string, signal?: AbortSignal): Promise<SegmentFinding | undefined> {
    const finding = await this.#read(key, signal);
    if (finding !== undefined) this.note(key, finding);
    return finding;
  }

  async #read(key: string, signal?: AbortSignal): Promise<SegmentFinding | undefined> {
    try {
      const index = await readSegmentIndex(this.#reading, key, signal);
      return index === undefined ? undefined : { segmentId: index.footer.segmentId, frameCount: index.frameCount };
    } catch (error) {
      if (!isCorrupt(error)) throw error;
      return { segmentId: undefined, frameCount: 0, fault: { error, frames: 'all' } };
    }
  }
}
