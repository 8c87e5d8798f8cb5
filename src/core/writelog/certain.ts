import { SgwError } from '../kit/index.ts';

/** A value that is there by an invariant of this room. */
export function certain<T>(value: T | undefined): T {
  if (value === undefined) throw new SgwError('internal', 'assertion', 'assertion failed: it is there');
  return value;
}
