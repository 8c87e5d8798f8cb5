/** Names of targets (RFC 7143, 4.2.7): chosen when something is attached, and kept whatever is renamed. */
import { isTargetName } from '../../kit/index.ts';
import type { Tags } from '../../localapi/index.ts';

/** What a volume that was created by the API of AWS is called there: its targets have the names that programs expect. */
const AWS_TARGET_TAG = 'sgw:aws-target-name';
const AWS_AUTHORITY = 'iqn.1997-05.com.amazon';
/** A domain that nobody can own: the id beside it makes the name one of its kind in the network. */
const AUTHORITY = 'iqn.2026-11.internal.sgw';
const NAME_LENGTH_MAX = 223;

/** `id`: of what is served. The same on every gateway that serves it under the same name. */
export function targetNameOf(id: string, exportName: string, tags: Tags = {}): string {
  const aws = tags[AWS_TARGET_TAG];
  const name = aws === undefined ? `${AUTHORITY}:${id}.${plain(exportName)}` : `${AWS_AUTHORITY}:${plain(aws)}`;
  const cut = name.slice(0, NAME_LENGTH_MAX);
  return isTargetName(cut) ? cut : `${AUTHORITY}:${id}`;
}

/** In lower case, what an iqn may not have replaced by hyphens (RFC 3722, 6.2). */
const plain = (name: string): string => name.toLowerCase().replaceAll(/[^a-z0-9.-]/g, '-');
