/**
 * How the parts of a segment are sealed (C16, docs/formats/segment.md): each frame on its own, the page hashes as one, and
 * the creators as one together with a proof of the tables and the footer.
 */
import type { KeyObject } from 'node:crypto';
import { NONCES, decrypt, deriveKey, encrypt } from './aead.ts';

/** What the frames of one segment are sealed with. Can be sent to worker threads. */
export interface SegmentKey {
  readonly key: KeyObject;
  readonly volumeId: string;
  readonly segmentId: string;
}

/** The facts of a frame's entry that its seal binds. */
export interface FrameFacts {
  readonly block: number;
  readonly mask: number;
  readonly codec: number;
  readonly creators: number;
  readonly hashIndex: number;
}

/** What opens one frame: the key of its segment, and its number there. */
export interface FrameOpening {
  readonly segment: SegmentKey;
  readonly frame: number;
}

type Sealed = readonly [ciphertext: Buffer, tag: Buffer];

/** The key of one segment. */
export function segmentKeyOf(dataKey: KeyObject, salt: Uint8Array, volumeId: string, segmentId: string): SegmentKey {
  return { key: deriveKey(dataKey, salt, `sgw segment ${volumeId}`), volumeId, segmentId };
}

function frameAssociated({ volumeId, segmentId }: SegmentKey, frame: number, facts: FrameFacts): Buffer {
  const { block, mask, codec, creators, hashIndex } = facts;
  const numbers = [frame, block, mask, codec, creators, hashIndex].join(' ');
  return Buffer.from(`frame ${volumeId} ${segmentId} ${numbers}`, 'latin1');
}

const partAssociated = ({ volumeId, segmentId }: SegmentKey, part: string): Buffer =>
  Buffer.from(`${part} ${volumeId} ${segmentId}`, 'latin1');

export function sealFrame(segment: SegmentKey, frame: number, facts: FrameFacts, plain: Uint8Array): Sealed {
  return encrypt(segment.key, NONCES.frame, frame, frameAssociated(segment, frame, facts), plain);
}

/** Undefined when it is not authentic. */
export function openFrame({ segment, frame }: FrameOpening, facts: FrameFacts, stored: Uint8Array): Buffer | undefined {
  return decrypt(segment.key, NONCES.frame, frame, frameAssociated(segment, frame, facts), stored);
}

export function sealPageHashes(segment: SegmentKey, plain: Uint8Array): Buffer {
  return Buffer.concat(encrypt(segment.key, NONCES.pageHashes, 0, partAssociated(segment, 'page hashes'), plain));
}

/** Undefined when they are not authentic. */
export function openPageHashes(segment: SegmentKey, stored: Uint8Array): Buffer | undefined {
  return decrypt(segment.key, NONCES.pageHashes, 0, partAssociated(segment, 'page hashes'), stored);
}

/** Creator sets, as a footer holds them. */
type CreatorSets = readonly (readonly string[])[];

/** `tablesHash`: BLAKE3-256 of frame table, extent table and footer, hex. */
export function sealCreators(segment: SegmentKey, tablesHash: string, creators: CreatorSets): Buffer {
  const plain = Buffer.from(JSON.stringify(creators), 'utf8');
  return Buffer.concat(
    encrypt(segment.key, NONCES.creators, 0, partAssociated(segment, `creators ${tablesHash}`), plain),
  );
}

/** Undefined when they, the tables or the footer are not authentic. */
export function openCreators(segment: SegmentKey, tablesHash: string, stored: Uint8Array): CreatorSets | undefined {
  const associated = partAssociated(segment, `creators ${tablesHash}`);
  const plain = decrypt(segment.key, NONCES.creators, 0, associated, stored);
  return plain === undefined ? undefined : (JSON.parse(plain.toString('utf8')) as CreatorSets);
}
