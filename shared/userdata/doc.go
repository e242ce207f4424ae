// Package userdata finds, hands out and erases what a deployment holds about one user: in
// JetStream's streams and buckets, and in the sink's files.
//
//	holder, err := userdata.New(userdata.Config{Conn: nc, Sink: files})
//	user := userdata.User{ID: "1234567"}
//	report, err := holder.Find(ctx, user)          // what is held, and where
//	report, err = holder.Export(ctx, user, folder) // the same, with a copy of it
//	report, err = holder.Erase(ctx, user)          // the same, and gone
//
// What names the user by a field of its own is the user's: events, states of pictures,
// entries of the directory, windows of exports. What hangs on a message of the user's, such
// as a rating, is found by the message's id, which chat events, pictures and parts of exports
// tell: so Erase removes those last, and a run that was killed is completed by another one.
// What names the user among others is rewritten: [Erased] stands where the id stood.
//
// It knows nothing of what upstream holds, nor of logs, nor of copies that others have made.
package userdata
