/** What a gateway's machine has, for a daemon to tell of. A part of its own: verbs load none of it. */
export { interfacesOf, localDisks } from './local-disks.ts';
