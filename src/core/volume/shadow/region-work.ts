/** What of an image is still to be compared or sent, and how far that is. */
import { PAGE_BYTES } from '../../blockstore/index.ts';
import { REGION_BYTES, REGION_PAGES, regionOf, regionsIn } from './region-marks.ts';
import { TouchedPages } from './touched-pages.ts';

export interface RegionTask {
  readonly region: number;
  readonly pages: readonly number[] | 'all';
  /** What it counts for in the progress. */
  readonly bytes: number;
  /** Of going through the image from one end to the other. */
  readonly isScan: boolean;
}

export class RegionWork {
  readonly touched = new TouchedPages();
  readonly #endRegion: number;
  /** Single regions, descending. */
  #regions: number[];
  /** Taken, and neither done nor put back. */
  #inWork: RegionTask | undefined;
  #cursor: number;
  #doneBytes = 0;
  #startedMs: number | undefined;

  /** `regions`: to be compared; and all from the one of `cursorPage` on. */
  constructor(sizeBytes: number, regions: Iterable<number>, cursorPage: number) {
    this.#endRegion = regionsIn(sizeBytes);
    this.#cursor = Math.min(regionOf(cursorPage), this.#endRegion);
    const cursor = this.#cursor;
    this.#regions = [...regions].filter((region) => region < cursor).reverse();
  }

  /** Everything below was looked at to the end, or is in the list of single regions. */
  get cursorPage(): number {
    return (this.#inWork?.isScan === true ? this.#cursor - 1 : this.#cursor) * REGION_PAGES;
  }

  /** Whether regions are left to be compared, be they written by clients or not. */
  get isComparing(): boolean {
    return this.#regions.length > 0 || this.#cursor < this.#endRegion || this.#inWork?.pages === 'all';
  }

  /** Whether what clients have written is left to be sent. */
  get isSending(): boolean {
    return !this.touched.isEmpty || (this.#inWork !== undefined && this.#inWork.pages !== 'all');
  }

  get isDone(): boolean {
    return !this.isComparing && !this.isSending;
  }

  get leftBytes(): number {
    const regions = this.#regions.length + this.#endRegion - this.#cursor;
    return regions * REGION_BYTES + this.touched.bytes + (this.#inWork?.bytes ?? 0);
  }

  progress(nowMs: number): { readonly doneBytes: number; readonly totalBytes: number; readonly leftMs: number | null } {
    const { leftBytes } = this;
    if (leftBytes === 0 || this.#startedMs === undefined) return { doneBytes: 0, totalBytes: leftBytes, leftMs: null };
    const tookMs = nowMs - this.#startedMs;
    const leftMs = this.#doneBytes === 0 ? null : Math.round((tookMs / this.#doneBytes) * leftBytes);
    return { doneBytes: this.#doneBytes, totalBytes: this.#doneBytes + leftBytes, leftMs };
  }

  /** All has to be compared. */
  all(): void {
    this.#cursor = 0;
    this.#regions = [];
    // What was found of it counts no more.
    if (this.#inWork?.isScan === true) this.#inWork = { ...this.#inWork, isScan: false };
  }

  /** The next task, which is left out from now on; undefined when nothing is left. */
  take(nowMs: number): RegionTask | undefined {
    if (this.#startedMs === undefined) {
      this.#startedMs = nowMs;
      this.#doneBytes = 0;
    }
    this.#inWork = this.#next();
    return this.#inWork;
  }

  #next(): RegionTask | undefined {
    const single = this.#regions.pop();
    if (single !== undefined) return { region: single, pages: 'all', bytes: REGION_BYTES, isScan: false };
    if (this.#cursor < this.#endRegion)
      return { region: this.#cursor++, pages: 'all', bytes: REGION_BYTES, isScan: true };
    const touched = this.touched.takeRegion();
    if (touched === undefined) return undefined;
    const bytes = touched.pages === 'all' ? REGION_BYTES : touched.pages.length * PAGE_BYTES;
    return { ...touched, bytes, isScan: false };
  }

  /** A task was done to the end. */
  done({ bytes }: RegionTask): void {
    this.#doneBytes += bytes;
    this.#inWork = undefined;
  }

  /** A task could not be done. */
  putBack({ region, pages, isScan }: RegionTask): void {
    this.#inWork = undefined;
    // All was to be done anew meanwhile: then it comes again by itself.
    if (isScan) this.#cursor = Math.min(this.#cursor, region);
    else if (pages === 'all') this.#regions.push(region);
    else for (const page of pages) this.touched.add(page, 1);
  }

  /** Everything is done: the next work is counted anew. */
  rest(): void {
    this.#startedMs = undefined;
    this.#doneBytes = 0;
  }
}
