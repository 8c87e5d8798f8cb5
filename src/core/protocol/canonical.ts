/** One text for one value, so that a signature over it can be checked by another program. */

/**
 * JSON without blanks, the fields of every object in the order of their names' UTF-16 code units, and fields that are
 * undefined left out. The value holds only objects, arrays, texts, finite numbers, booleans and null.
 */
export function canonicalJson(value: unknown): string {
  return JSON.stringify(ordered(value));
}

function ordered(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(ordered);
  if (typeof value !== 'object' || value === null) return value;
  const fields = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  // Without a prototype, a field may have any name.
  const result = Object.create(null) as Record<string, unknown>;
  for (const [name, field] of fields) result[name] = ordered(field);
  return result;
}
