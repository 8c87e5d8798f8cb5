/** Which parts of a served volume hold data: what NBD's `base:allocation` tells. The write log first, then the map. */
import { PAGE_BYTES } from '../blockstore/index.ts';
import type { DeviceExtent } from '../blockdevice/index.ts';
import { NOT_IN_LOG, ZERO_IN_LOG } from '../writelog/index.ts';
import type { LiveMap } from './live-map.ts';
import type { LogReading } from './page-reader.ts';

/** Pages of one piece that are looked at one by one. */
const STEP_PAGES_MAX = 1 << 16;

/** Pieces from `offset` on, at most `piecesMax`; at least one, unless `length` is 0. */
export async function deviceExtents(
  log: LogReading,
  live: () => LiveMap,
  offset: number,
  length: number,
  piecesMax: number,
  signal?: AbortSignal,
): Promise<DeviceExtent[]> {
  const pieces: { length: number; isHole: boolean; isZero: boolean }[] = [];
  const end = offset + length;
  for (let at = offset; at < end;) {
    const page = Math.floor(at / PAGE_BYTES);
    const toPage = Math.ceil(end / PAGE_BYTES);
    const { isData, endPage } = await stateAt(log, live(), page, toPage, signal);
    const next = Math.min(end, endPage * PAGE_BYTES);
    const last = pieces.at(-1);
    if (last !== undefined && last.isHole !== isData) last.length += next - at;
    else if (pieces.length >= piecesMax) break;
    else pieces.push({ length: next - at, isHole: !isData, isZero: !isData });
    at = next;
  }
  return pieces;
}

/** Whether there is data at `page`, and the page at which that may end. */
async function stateAt(
  log: LogReading,
  live: LiveMap,
  page: number,
  toPage: number,
  signal: AbortSignal | undefined,
): Promise<{ readonly isData: boolean; readonly endPage: number }> {
  const here = log.lookup(page);
  if (here !== NOT_IN_LOG) {
    const isData = here !== ZERO_IN_LOG;
    let endPage = page + 1;
    const limit = Math.min(toPage, page + STEP_PAGES_MAX);
    for (; endPage < limit; endPage++) {
      const slot = log.lookup(endPage);
      if (slot === NOT_IN_LOG || (slot !== ZERO_IN_LOG) !== isData) break;
    }
    return { isData, endPage };
  }
  const untilPage = log.nextPage(page, toPage) ?? toPage;
  const { isMapped, endPage } = await live.map.mappedExtent(page, untilPage, signal);
  return { isData: isMapped, endPage };
}
