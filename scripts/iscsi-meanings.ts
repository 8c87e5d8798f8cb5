/** What the fields about iSCSI and about connected clients mean. */

/** In every document that shows an attachment. */
const ATTACHMENT: Readonly<Record<string, string>> = {
  'connected[].requests': 'requests since it came',
  'connected[].user': 'who it proved to be, by CHAP or TLS; null when it did not',
};
const SHOWN_AT = [
  'volume-attach.',
  'volume-detail.attachment.',
  'volume-created.attachment.',
  'status.exports[].',
  'gateway.exports[].',
  'snapshot-restore.export.',
];

export const ISCSI_MEANINGS: Readonly<Record<string, string>> = {
  ...Object.fromEntries(
    SHOWN_AT.flatMap((place) => Object.entries(ATTACHMENT).map(([name, meaning]) => [place + name, meaning])),
  ),
  connected: 'who has it open, as far as the servers know by now',
  protocol: '`nbd` or `iscsi`',
  protocols: 'what it is served over',
  remotes: 'address and port of each of its connections, or `unix`',
  initiator: 'iSCSI name; null over NBD',
  receivedBytes: 'bytes that it sent',
  sentBytes: 'bytes that were sent to it',
  iscsi: 'how it is served over iSCSI; null when it is not',
  targetName: 'the iqn that initiators log in to',
  lun: 'number of the one logical unit',
  portals: '`HOST:PORT` of each place where initiators reach it',
  chapInitiators: 'initiators that log in by CHAP as themselves, each with secrets of its own; absent: none',
  chapUser: 'the user that initiators log in as by CHAP; null: without authentication',
  chapTargetUser: 'the user that the target proves itself as; null: it does not',
  initiators: 'names of the initiators that may log in; empty: any',
  iscsiListen: 'portals, `tcp:HOST:PORT`; empty: `tcp:127.0.0.1:3260` while something is served over iSCSI',
  iscsiPortals: '`HOST:PORT` of the portals that initiators are told of; empty: those that are listened at',
  iscsiDiscoveryUser: 'the user of CHAP that may ask what targets there are; null: anybody may',
};
