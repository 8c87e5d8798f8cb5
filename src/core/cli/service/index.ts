/** What `service run` is made of; the other commands load none of it. */
export { serviceRunFlags, serviceRunSettings } from './run.ts';
export { serviceReadyFields } from './views.ts';
