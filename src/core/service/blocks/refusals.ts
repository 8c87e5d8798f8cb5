/** Requests that are wrong in themselves. */
import { SgwError } from '../../kit/index.ts';

export const invalid = (code: string, message: string): SgwError => new SgwError('invalid', code, message);

export const badParameter = (message: string): SgwError => invalid('bad-parameter', message);
