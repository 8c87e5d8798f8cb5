/** One text for one value, so that a signature over it can be checked by another program. */

/**
 * JSON without blanks, the fields of every object in the order of their names' UTF-16 code units, and fields that are
 * undefined left out. The value holds only objects, arrays, texts, finite numbers, booleans and null.
 */
export function canonicalJson(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map((item) => canonicalJson(item ?? null)).join(',')}]`;
  if (typeof value !== 'object' || value === null) return JSON.stringify(value);
  // Not by an object in order: that would put names which are numbers first.
  const fields = Object.entries(value)
    .filter(([, field]) => field !== undefined)
    .sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${fields.map(([name, field]) => `${JSON.stringify(name)}:${canonicalJson(field)}`).join(',')}}`;
}
