/** What may not be there: looked for, or removed. */
import { SgwError } from '../kit/index.ts';
import type { DeletedDocument } from '../localapi/index.ts';

/** What a removal answers that found nothing. */
export const NOTHING_DELETED: DeletedDocument = {
  id: null,
  name: null,
  deleted: false,
  preview: false,
  freesBytes: null,
  undeleteUntil: null,
};

/** Undefined in place of what is not there, if that may be, as with `--if-exists`. */
export async function orMissing<T>(ifExists: boolean | undefined, find: () => Promise<T>): Promise<T | undefined> {
  try {
    return await find();
  } catch (error) {
    if (ifExists === true && error instanceof SgwError && error.kind === 'notFound') return undefined;
    throw error;
  }
}
