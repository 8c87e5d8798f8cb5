import { SgwError } from '../kit/index.ts';

function mend(key: string): string {
  const restore = 'Put an intact copy of the object back in its place, from a copy of the store.';
  return key.endsWith('.json')
    ? `${restore} \`sgw volume list\` and \`sgw snapshot list\` show which entries are damaged.`
    : `${restore} Snapshots that do not need it are whole: \`sgw snapshot verify SNAPSHOT\` tells.`;
}

/** A stored object that is not what the format says: names the object and what is wrong with it. */
export function damaged(key: string, what: string, cause?: unknown): SgwError {
  return new SgwError('corrupt', 'object-damaged', `object ${key} is damaged: ${what}`, {
    hint: mend(key),
    details: { key },
    cause,
  });
}

/** A stored object that something points to is gone. */
export function missing(key: string): SgwError {
  return new SgwError('corrupt', 'object-missing', `object ${key} is missing from the store`, {
    hint: mend(key),
    details: { key },
  });
}

/** The same, where only what was seen before tells so: somebody may have put an older store in place on purpose. */
export function unlessPutBack({ kind, code, message, hint = '', details }: SgwError): SgwError {
  return new SgwError(kind, code, message, {
    hint: `${hint} If an older state of the store was put back on purpose: sgw store scrub --accept-older`,
    details,
  });
}

/** True for an error that says that stored data is damaged. */
export const isCorrupt = (error: unknown): error is SgwError => error instanceof SgwError && error.kind === 'corrupt';
