/**
 * A process that writes an image of blocks, each filled with its number plus one and every third left out, with a
 * checkpoint after each. It tells each checkpoint on stdout and waits for a line on stdin, so that the test decides
 * where to kill it. Arguments: path, number of blocks, bytes per block, resume key.
 */
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { createSparseOutput } from '../../src/core/image/index.ts';

const [path = '', blocks = '0', blockBytes = '0', resumeKey = ''] = process.argv.slice(2);
const block = Number(blockBytes);
const lines = createInterface({ input: process.stdin });
const output = await createSparseOutput(path, { sizeBytes: Number(blocks) * block, resumeKey });
process.stdout.write(`resumed ${String(output.resumedFrom)}\n`);
for (let index = output.resumedFrom / block; index < Number(blocks); index++) {
  if (index % 3 !== 2) await output.write(Buffer.alloc(block, index + 1), index * block);
  await output.checkpoint((index + 1) * block);
  process.stdout.write(`checkpoint ${String(index + 1)}\n`);
  await once(lines, 'line');
}
await output.finish();
process.stdout.write('finished\n');
lines.close();
process.stdin.destroy();
