/** How what is served names itself to SCSI initiators: by its id, so that it is the same on every gateway. */
import { createHash } from 'node:crypto';
import type { UnitIdentity } from '../../iscsi/index.ts';

const NAA_BYTES = 8;
const LOCALLY_ASSIGNED = 0x30;
const REVISION_LENGTH = 4;

/**
 * The identity of a volume, throw-away clone or snapshot. Its NAA designator is locally assigned (NAA 3h, SPC-4, 7.8.6.6): 60 bits
 * of a hash of the id, since nobody has given sgw a company id.
 */
export function unitIdentity(id: string, version: string): UnitIdentity {
  const naa = createHash('sha256').update(id).digest().subarray(0, NAA_BYTES);
  naa[0] = LOCALLY_ASSIGNED | ((naa[0] ?? 0) & 0x0f);
  const [major = '0', minor = '0'] = version.split('.');
  return { serial: id, naa, revision: `${major}.${minor}`.slice(0, REVISION_LENGTH), isThin: true };
}
