/** What is said where a volume of a group is not, or no longer, held here. */
import { SgwError, type VolumeId } from '../kit/index.ts';

export const WHY = {
  'not-in-sync': 'this gateway is not in the in-sync set of the volume: it may lack what was acknowledged',
  promised: 'this gateway has promised the holder not to take the volume over yet',
  'not-synced': 'the log of this gateway could not be made durable',
  'not-whole': 'the log of this gateway may lack what was acknowledged, and not all others that have it answer',
} as const;

/** To the operator, who accepts loss. */
export const notNow = (volumeId: VolumeId, why: keyof typeof WHY): SgwError =>
  new SgwError('conflict', why, WHY[why], {
    hint:
      why === 'promised'
        ? 'A promise is for a few seconds, and the holder renews it while it is there: wait, or stop the holder.'
        : 'sgw group show tells who holds it, and sgw doctor what is wrong with this gateway.',
    details: { volumeId },
  });

export const superseded = (volumeId: VolumeId, by?: string): SgwError =>
  new SgwError('fenced', 'fenced', `volume ${volumeId} is held by ${by ?? 'another gateway of the group'} now`, {
    hint: 'sgw group show tells who serves it.',
    details: { volumeId },
  });

export const moved = (volumeId: VolumeId, to: string): SgwError =>
  new SgwError('fenced', 'fenced', `volume ${volumeId} moves to gateway ${to}`, {
    hint: 'It is served there in a moment.',
    details: { volumeId },
  });

export const notReady = (volumeId: VolumeId, to: string | undefined): SgwError =>
  new SgwError(
    'conflict',
    'no-successor',
    to === undefined
      ? `no other member of the group has all of volume ${volumeId}`
      : `gateway ${to} does not have all of volume ${volumeId}, or is not connected`,
    { hint: 'sgw group show tells how far the replicas are.', details: { volumeId } },
  );

export const notTold = (volumeId: VolumeId, names: readonly string[]): SgwError =>
  new SgwError(
    'timeout',
    'replicas-not-told',
    `it is so at this gateway, and not yet at ${names.join(', ')}, which may take volume ${volumeId} over`,
    { hint: 'They are told when they answer; sgw group show tells who does.', details: { volumeId } },
  );

export const notTaken = (volumeId: VolumeId): SgwError =>
  new SgwError('timeout', 'not-taken-over', `the other member has not taken volume ${volumeId} over in time`, {
    hint: 'sgw group show tells who holds it now.',
    details: { volumeId },
  });

export const notHolder = (volumeId: VolumeId): SgwError =>
  new SgwError('conflict', 'not-the-holder', 'this gateway does not hold the volume', {
    hint: 'sgw group show tells who holds it.',
    details: { volumeId },
  });

export const askThere = (name: string): SgwError =>
  new SgwError(
    'unavailable',
    'holder-away',
    `the holder can not be asked; have gateway ${name} take the volume over there`,
    {
      hint: `Run the same command on ${name}.`,
    },
  );
