/** What a volume of a group is opened with. */
import type { HeadCondition, InSyncWriter } from '../../blockstore/index.ts';
import type { AckClass } from '../../localapi/index.ts';
import type { RecordSink } from '../../writelog/index.ts';

/** How the volume of a group is opened by the one that its group has chosen (docs/adr/0025-groups.md). */
export interface GroupOpening {
  /** Asked of the head in the compare-and-set that makes this gateway the holder. */
  readonly condition: HeadCondition;
  /** What acknowledges, and by which class. */
  readonly sink: RecordSink;
  readonly ack: AckClass;
  /** The volume is open, or was opened anew, with this writer. */
  readonly onWriter: (writer: InSyncWriter) => void;
}
