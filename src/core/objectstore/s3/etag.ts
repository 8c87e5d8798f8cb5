/** Etags as S3 has them in headers, and as the rest of the program has them: without quotes. */
import type { Etag } from '../contract.ts';

/** What no etag of a server holds would be a list of etags, or any. */
const SENDABLE_ETAG = /^[^\s",*]+$/;

export const isSendable = (etag: Etag): boolean => SENDABLE_ETAG.test(etag);

export const plainEtag = (etag: string | undefined): Etag => (etag ?? '').replace(/^W\//, '').replace(/^"|"$/g, '');

export const etagText = (etag: Etag, quotes: boolean): string => (quotes ? `"${etag}"` : etag);
