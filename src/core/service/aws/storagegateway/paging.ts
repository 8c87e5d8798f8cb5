/** Lists in pages: a marker names the last entry of the page before. */
import { RequestRefused } from './errors.ts';

const PAGE_MAX = 100;

/** @throws RequestRefused `InvalidParameters` for a marker that none is */
export function pageOf<T>(
  rows: readonly T[],
  keyOf: (row: T) => string,
  { Marker, Limit }: { readonly Marker?: string | undefined; readonly Limit?: number | undefined },
): { readonly rows: readonly T[]; readonly Marker?: string } {
  const after = Marker === undefined ? '' : nameIn(Marker);
  const size = Math.min(Limit ?? PAGE_MAX, PAGE_MAX);
  const rest = rows.filter((row) => keyOf(row) > after);
  const page = rest.slice(0, size);
  const last = page.at(-1);
  if (last === undefined || rest.length <= size) return { rows: page };
  return { rows: page, Marker: Buffer.from(keyOf(last), 'utf8').toString('base64url') };
}

function nameIn(marker: string): string {
  const name = Buffer.from(marker, 'base64url').toString('utf8');
  if (name !== '' && Buffer.from(name, 'utf8').toString('base64url') === marker) return name;
  throw new RequestRefused('InvalidParameters', 'the marker is not one of a page before');
}
