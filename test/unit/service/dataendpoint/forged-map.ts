/** Map objects as somebody makes them who is free to: nodes by hand, and every hash right. */
import { crc32 } from 'node:zlib';
import { blake3, blake3Short } from '../../../../src/core/blockstore/hash.ts';
import {
  creatorSet,
  encodeInterior,
  encodeLeaf,
  type LeafRun,
  type NodePointer,
} from '../../../../src/core/blockstore/node-codec.ts';

const HEADER = Buffer.concat([Buffer.from('SGWMAP1\n', 'latin1'), Buffer.alloc(8)]);

export class ForgedMap {
  readonly key: string;
  readonly #parts: Buffer[] = [HEADER];
  #at = HEADER.length;

  constructor(key: string) {
    this.key = key;
  }

  /** Bytes as they are, as a node; what the pointer says of them is true unless told otherwise. */
  node(stored: Buffer, facts: Pick<NodePointer, 'mappedPages' | 'creators'>): NodePointer {
    const pointer = {
      key: this.key,
      offset: this.#at,
      length: stored.length,
      hash: blake3Short(stored).toString('hex'),
      ...facts,
    };
    this.#parts.push(stored);
    this.#at += stored.length;
    return pointer;
  }

  leaf(runs: readonly LeafRun[]): NodePointer {
    return this.node(encodeLeaf(runs), {
      mappedPages: runs.reduce((sum, { count }) => sum + count, 0),
      creators: creatorSet(...runs.map(({ source }) => source.creators)),
    });
  }

  interior(level: number, children: readonly (readonly [slot: number, pointer: NodePointer])[]): NodePointer {
    return this.node(encodeInterior(level, children), {
      mappedPages: children.reduce((sum, [, { mappedPages }]) => sum + mappedPages, 0),
      creators: creatorSet(...children.map(([, { creators }]) => creators)),
    });
  }

  /** The nodes above one of `level`, each with it in slot 0. */
  above(pointer: NodePointer, level: number): NodePointer {
    let top = pointer;
    for (let next = level + 1; next <= 3; next++) top = this.interior(next, [[0, top]]);
    return top;
  }

  body(owner: string, root: NodePointer | null, facts: object = {}): Buffer {
    const footer = Buffer.from(
      JSON.stringify({
        ...{ format: 1, kind: 'map', owner, seq: 1, root, sizeBytes: 1 << 20, mappedPages: root?.mappedPages ?? 0 },
        ...{ epoch: 1, commitTimeMs: 1, logHash: '0'.repeat(64), consistent: true, ...facts },
      }),
    );
    const trailer = Buffer.alloc(16);
    trailer.write('SGWMAPE1', 'latin1');
    trailer.writeUInt32LE(footer.length, 8);
    trailer.writeUInt32LE(crc32(footer), 12);
    const unhashed = Buffer.concat([...this.#parts, footer, trailer]);
    return Buffer.concat([unhashed, blake3(unhashed)]);
  }
}
