/** Which failures of the store pass, so that what met one is tried again for as long as it takes. */
import type { ErrorKind, SgwError } from '../kit/index.ts';

/** The store is out of reach, slow, full, or lets nobody in until its operator has mended that. */
const PASSING: readonly ErrorKind[] = ['unavailable', 'timeout', 'exhausted', 'denied'];

export const isPassing = ({ kind }: SgwError): boolean => PASSING.includes(kind);
