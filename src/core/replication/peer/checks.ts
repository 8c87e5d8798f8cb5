/**
 * Messages of members from their JSON, checked field by field: what a message of a known kind has is as its type says. Fields that
 * are not known are left alone, so that a later version may add some; kinds that are not known are no messages.
 */
import { isVolumeId, KIB } from '../../kit/index.ts';
import {
  isAmount,
  isCount,
  isFlag,
  isOfKind,
  listOf,
  objectOf,
  parseMessage,
  textOf,
  type Check,
  type Checks,
} from '../../protocol/index.ts';
import type { PeerMessage } from '../messages.ts';

const TEXT_LENGTH_MAX = 1024;
/** Names and secrets of an export's initiators. */
const EXPORT_LENGTH_MAX = 256 * KIB;
const REIGNS_MAX = 4096;
const INCARNATIONS_MAX = 64;

const isText = textOf(TEXT_LENGTH_MAX);
const isLongText = textOf(EXPORT_LENGTH_MAX);
const isVolume: Check = (value) => typeof value === 'string' && isVolumeId(value);
const isIncarnationId: Check = (value) => typeof value === 'string' && /^[0-9a-f]{16}$/.test(value);

const isCountOrAbsent: Check = (value) => value === undefined || isCount(value);

const isReign = objectOf({ volumeId: isVolume, holder: isText, epoch: isCount });
const areReigns = listOf(isReign, REIGNS_MAX);
const isIncarnation = objectOf({
  incarnation: isIncarnationId,
  epoch: isCount,
  baseSeq: isCount,
  uploadedSequence: isCount,
  firstSequence: isCount,
});
const isPosition = objectOf({
  incarnation: (value) => value === null || isIncarnationId(value),
  firstSequence: isCount,
  received: isCount,
  synced: isCount,
  isWhole: isFlag,
});

const MESSAGES: Readonly<Record<Exclude<PeerMessage['kind'], 'records' | 'got'>, Checks>> = {
  beat: { groupVersion: isCount },
  renew: { stamp: isAmount, reigns: areReigns },
  promise: { stamp: isAmount, reigns: areReigns },
  superseded: { newest: isReign },
  open: {
    reign: isReign,
    incarnations: listOf(isIncarnation, INCARNATIONS_MAX),
    lastSequence: isCount,
    uploadedSequence: isCount,
    capacityBytes: isCount,
    exportedAs: (value) => value === undefined || isLongText(value),
    stamp: isCountOrAbsent,
  },
  position: { volumeId: isVolume, position: isPosition, stamp: isCountOrAbsent },
  from: { volumeId: isVolume, from: isCount, anew: isFlag, incarnation: isIncarnation },
  sync: { volumeId: isVolume, sequence: isCount },
  whole: { volumeId: isVolume, sequence: isCount },
  uploaded: { volumeId: isVolume, sequence: isCount },
  ask: { volumeId: isVolume, epoch: isCount },
  tell: { volumeId: isVolume, epoch: isCount, position: isPosition, isHolder: isFlag },
  release: { reign: isReign, last: isCount },
  please: { volumeId: isVolume, to: isText },
  refused: { volumeId: isVolume, code: isText, message: isText },
  took: { reign: isReign },
};

/** A message; undefined when the text is none. */
export function readMessage(text: string): PeerMessage | undefined {
  const message = parseMessage(text);
  return message !== undefined && isOfKind(MESSAGES, message) ? (message as unknown as PeerMessage) : undefined;
}
