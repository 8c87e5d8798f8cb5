/** Sealed map nodes (docs/formats/map.md): each carries the volume whose data key opens it, and its own salt. */
import type { KeyObject } from 'node:crypto';
import { isVolumeId, type Random, type VolumeId } from '../../kit/index.ts';
import { openUnit, sealUnit } from './aead.ts';

const SEALED_NODE = 2;
const PREFIX = 'vol-';
const ID_DIGITS = 17;
const BODY_AT = 1 + ID_DIGITS;
const INFO = 'sgw map node';

/** Seals the nodes of one map object. */
export interface NodeSeal {
  readonly volumeId: VolumeId;
  readonly dataKey: KeyObject;
  readonly random: Random;
}

/** Where a node is stored. */
interface NodePlace {
  readonly key: string;
  readonly offset: number;
}

const associatedOf = ({ key, offset }: NodePlace): string => `${key} ${String(offset)}`;

/** The stored form of a packed node. */
export function sealNode({ volumeId, dataKey, random }: NodeSeal, place: NodePlace, packed: Uint8Array): Buffer {
  const head = Buffer.from([SEALED_NODE, ...Buffer.from(volumeId.slice(PREFIX.length), 'latin1')]);
  return Buffer.concat([head, sealUnit(dataKey, random, INFO, associatedOf(place), packed)]);
}

/** The volume whose data key opens a stored node; undefined when the node is not sealed. */
export function sealedBy(stored: Buffer): VolumeId | undefined {
  if (stored[0] !== SEALED_NODE) return undefined;
  const id = PREFIX + stored.toString('latin1', 1, BODY_AT);
  return isVolumeId(id) ? id : undefined;
}

/** The packed node; undefined when it is not authentic. */
export function openNode(dataKey: KeyObject, place: NodePlace, stored: Buffer): Buffer | undefined {
  return openUnit(dataKey, INFO, associatedOf(place), stored.subarray(BODY_AT));
}
