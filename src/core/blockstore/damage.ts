import { SgwError } from '../kit/index.ts';

/** A stored object that is not what the format says: names the object and what is wrong with it. */
export function damaged(key: string, what: string, cause?: unknown): SgwError {
  return new SgwError('corrupt', 'object-damaged', `object ${key} is damaged: ${what}`, {
    hint: 'Run `sgw volume verify` and `sgw snapshot verify` to see what it hurts; an intact copy of the object put back in its place mends it.',
    details: { key },
    cause,
  });
}

/** A stored object that something points to is gone. */
export function missing(key: string): SgwError {
  return new SgwError('corrupt', 'object-missing', `object ${key} is missing from the store`, {
    hint: 'Run `sgw volume verify` and `sgw snapshot verify` to see what it hurts; an intact copy of the object put back in its place mends it.',
    details: { key },
  });
}
