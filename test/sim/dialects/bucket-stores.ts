/** The stores of a run over a dialect of S3: the real `S3Store` over a simulated server. */
import { parseS3Place } from '../../../src/core/objectstore/index.ts';
import { S3Store } from '../../../src/core/objectstore/s3/index.ts';
import { Choices } from '../random.ts';
import type { MakeStores } from '../stores.ts';
import { Bucket } from './bucket.ts';
import { simSender, trueSender, type Tampering, type UnderWay } from './client.ts';
import type { Dialect } from './servers.ts';
import { SettledStore } from './settled-store.ts';

const TURNS = 4;
const PLACE = parseS3Place('s3://simulated?endpoint=http://simulated&region=simulated&path-style');

export const bucketStores =
  (dialect: Dialect, tampering: Tampering = {}): MakeStores =>
  ({ world, seed, observe, listPage }) => {
    const { server } = dialect;
    // Bodies are streams, and what is read is handed on over a few turns.
    world.turns = TURNS;
    const choices = Choices.named(seed, 'bucket');
    const bucket = new Bucket({ server, nowMs: () => world.nowMs, observe, choices });
    const underWay: UnderWay = new Set();
    return {
      base: new S3Store({ place: PLACE, hedges: false, client: () => trueSender(bucket) }),
      of: (process) => {
        const own = Choices.named(seed, `${process.name} way`);
        const refused = new Set<string>();
        const wire = { world, process, dialect, bucket, underWay, refused, choices: own, listPage, tampering };
        const store = new S3Store({
          place: PLACE,
          clock: world.clockOf(process),
          // Second tries of slow reads go by the machine's own time.
          hedges: false,
          client: (seen) => simSender(wire, seen),
        });
        return new SettledStore(store, world.tally, refused);
      },
    };
  };
