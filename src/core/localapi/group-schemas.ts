/** Documents of groups of gateways. As in `schemas.ts`, fields are only ever added. */
import Type, { type Static } from 'typebox';
import { Bytes, Nullable, object, Time } from './schema-parts.ts';

const closed = { additionalProperties: false } as const;
const Count = Type.Integer({ minimum: 0 });
const Milliseconds = Type.Number({ minimum: 0 });
const Remarks = Type.Array(Type.String());

const Gateway = Type.Object({ gatewayId: Type.String(), name: Type.String() }, closed);

const member = {
  gatewayId: Type.String(),
  name: Type.String(),
  /** `HOST:PORT` that other members connect to; null while it does not run. */
  peer: Nullable(Type.String()),
  /** Where its exports are: `HOST:PORT`, `unix:PATH`. */
  nbd: Type.Array(Type.String()),
};

const volume = {
  volumeId: Type.String(),
  exportName: Type.String(),
  /** How many members besides the holder are to have its records. */
  replicas: Type.Integer({ minimum: 1 }),
  /** Id of the member that is to hold it if it can be chosen; null: whoever does. */
  preferredHolder: Nullable(Type.String()),
  /** What goes on when fewer replicas are in sync than there are to be. */
  whenDegraded: Type.Union([Type.Literal('continue'), Type.Literal('stop')]),
  /** What an acknowledgement means: also in the logs of all members in sync, in the holder's alone, or in the store. */
  ack: Type.Union([Type.Literal('peer'), Type.Literal('log'), Type.Literal('store')]),
  /** Whether a take-over may lose acknowledged records that no replica has. */
  allowLoss: Type.Boolean(),
};

const group = {
  groupId: Type.String(),
  name: Type.String(),
  accountId: Type.String(),
  /** Grows with every change. */
  version: Type.Integer({ minimum: 1 }),
  createdAt: Time,
};

const settings = {
  ...group,
  members: Type.Array(Type.Object(member, closed)),
  volumes: Type.Array(Type.Object(volume, closed)),
};

/** A group as it was made; `created` is false when there was one already. */
export const GroupCreated = object('group-created', { ...settings, created: Type.Boolean() });

/** A group after a change. */
export const GroupChanged = object('group-changed', {
  ...settings,
  /** False when it was so already. */
  changed: Type.Boolean(),
  remarks: Remarks,
});

export const GroupDeleted = object('group-deleted', {
  groupId: Nullable(Type.String()),
  name: Nullable(Type.String()),
  /** False when `--if-exists` found none. */
  deleted: Type.Boolean(),
});

export const GroupList = object('group-list', {
  groups: Type.Array(Type.Object({ ...group, members: Count, volumes: Count }, closed)),
});

/** How a replica of a volume does, as the volume's holder sees it. */
const Replica = Type.Object(
  {
    gatewayId: Type.String(),
    name: Type.String(),
    state: Type.Union([Type.Literal('in-sync'), Type.Literal('catching-up'), Type.Literal('disconnected')]),
    /** Bytes and milliseconds of records that it does not have yet. */
    lagBytes: Bytes,
    lagMs: Milliseconds,
  },
  closed,
);

/** A group, its members and how its volumes do. */
export const GroupShown = object('group', {
  ...group,
  members: Type.Array(
    Type.Object(
      {
        ...member,
        /** The gateway that answers. */
        self: Type.Boolean(),
        /** Whether the gateway that answers has a connection to it; null of itself, and where no daemon of the group answers. */
        connected: Nullable(Type.Boolean()),
      },
      closed,
    ),
  ),
  volumes: Type.Array(
    Type.Object(
      {
        ...volume,
        /** Null of one that is gone, or whose entry can not be read. */
        name: Nullable(Type.String()),
        /** Who has it open for writing; null: nobody. */
        holder: Nullable(Gateway),
        /** Of the newest opening for writing; null where its head can not be read. */
        epoch: Nullable(Count),
        /** Ids of the gateways, the holder among them, that have all that was acknowledged; empty before the first use in the group. */
        inSync: Type.Array(Type.String()),
        /** Null where another gateway than the one that answers holds it: members tell each other nothing of it. */
        replicaStates: Nullable(Type.Array(Replica)),
        /** Who would take over; null: nobody could. */
        successor: Nullable(Gateway),
        /** Fewer replicas are in sync than there are to be, or nothing is acknowledged. */
        degraded: Type.Boolean(),
        /** Why; null when it is not. */
        reason: Nullable(Type.String()),
      },
      closed,
    ),
  ),
  /** Whether a daemon of the group has answered; else this is what the store knows. */
  live: Type.Boolean(),
  remarks: Remarks,
});

export const GroupFailover = object('group-failover', {
  volumeId: Type.String(),
  name: Type.String(),
  groupId: Type.String(),
  /** Who held it; null: nobody. */
  from: Nullable(Gateway),
  /** Who holds it now. */
  to: Nullable(Gateway),
  epoch: Count,
  /** False when that gateway held it already. */
  changed: Type.Boolean(),
  durationMs: Milliseconds,
});

export type GroupCreated = Static<typeof GroupCreated>;
export type GroupChanged = Static<typeof GroupChanged>;
export type GroupDeleted = Static<typeof GroupDeleted>;
export type GroupList = Static<typeof GroupList>;
export type GroupShown = Static<typeof GroupShown>;
export type GroupFailover = Static<typeof GroupFailover>;
