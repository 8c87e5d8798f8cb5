/** Counts PUTs of random writes in a process of its own: `node puts-run.ts FOLDER BYTES IDLE_MS`. Prints the counts as JSON. */
import { seededRandom } from '../src/core/kit/index.ts';
import { countPuts } from '../test/soak/served/puts.ts';

const [folder = '', bytes = '0', idleMs = '0'] = process.argv.slice(2);
const counts = await countPuts({ folder, random: seededRandom(10), bytes: Number(bytes), idleMs: Number(idleMs) });
process.stdout.write(JSON.stringify(counts));
