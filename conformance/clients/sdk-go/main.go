// Command sdk-go makes one round trip with the AWS SDK for Go v2.
// Arguments: SMALL BIG BUCKET ODD_KEY; keys and endpoint come by environment.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/config"
	"github.com/aws/aws-sdk-go-v2/feature/s3/manager"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
)

func must[T any](value T, err error) T {
	if err != nil {
		log.Fatal(err)
	}
	return value
}

func same(got, want []byte, what string) {
	if !bytes.Equal(got, want) {
		log.Fatalf("%s: bytes differ (%d, %d)", what, len(got), len(want))
	}
}

func main() {
	log.SetFlags(0)
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	small, big := must(os.ReadFile(os.Args[1])), must(os.ReadFile(os.Args[2]))
	bucket, odd := aws.String(os.Args[3]), os.Args[4]
	cfg := must(config.LoadDefaultConfig(ctx, config.WithRetryMaxAttempts(1)))
	client := s3.NewFromConfig(cfg, func(o *s3.Options) {
		o.BaseEndpoint = aws.String(os.Getenv("S3_ENDPOINT"))
		o.UsePathStyle = true
	})
	get := func(key string, rng *string) []byte {
		out := must(client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: aws.String(key), Range: rng}))
		defer out.Body.Close()
		return must(io.ReadAll(out.Body))
	}

	must(client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: bucket}))
	must(client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &odd, Body: bytes.NewReader(small),
		Metadata: map[string]string{"colour": "blue"}}))
	up := manager.NewUploader(client, func(u *manager.Uploader) { u.PartSize = 5 << 20 })
	must(up.Upload(ctx, &s3.PutObjectInput{Bucket: bucket, Key: aws.String("big"), Body: bytes.NewReader(big)}))
	head := must(client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: &odd}))
	if head.Metadata["colour"] != "blue" {
		log.Fatalf("metadata: %v", head.Metadata)
	}
	var keys []string
	for pages := s3.NewListObjectsV2Paginator(client, &s3.ListObjectsV2Input{Bucket: bucket, MaxKeys: aws.Int32(1)}); pages.HasMorePages(); {
		for _, o := range must(pages.NextPage(ctx)).Contents {
			keys = append(keys, *o.Key)
		}
	}
	if !slices.Equal(keys, []string{"big", odd}) {
		log.Fatalf("listing: %q", keys)
	}
	same(get(odd, nil), small, "small")
	same(get("big", nil), big, "big")
	same(get("big", aws.String("bytes=5242870-5242889")), big[5242870:5242890], "range")
	down := manager.NewWriteAtBuffer(nil)
	must(manager.NewDownloader(client).Download(ctx, down, &s3.GetObjectInput{Bucket: bucket, Key: aws.String("big")}))
	same(down.Bytes(), big, "download in parts")
	must(client.CopyObject(ctx, &s3.CopyObjectInput{Bucket: bucket, Key: aws.String("copied"),
		CopySource: aws.String(*bucket + "/" + url.PathEscape(odd))}))
	same(get("copied", nil), small, "copy")
	signed := must(s3.NewPresignClient(client).PresignGetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: &odd}))
	answer := must(http.Get(signed.URL))
	same(must(io.ReadAll(answer.Body)), small, "presigned GET")
	_, err := client.PutObject(ctx, &s3.PutObjectInput{Bucket: bucket, Key: &odd, Body: bytes.NewReader(nil), IfNoneMatch: aws.String("*")})
	if refused := (*awshttp.ResponseError)(nil); !errors.As(err, &refused) || refused.HTTPStatusCode() != 412 {
		log.Fatalf("If-None-Match: %v", err)
	}
	var all []types.ObjectIdentifier
	for _, key := range []string{"big", odd, "copied"} {
		all = append(all, types.ObjectIdentifier{Key: aws.String(key)})
	}
	gone := must(client.DeleteObjects(ctx, &s3.DeleteObjectsInput{Bucket: bucket, Delete: &types.Delete{Objects: all}}))
	if len(gone.Deleted) != 3 {
		log.Fatalf("multi-delete: %v", gone)
	}
	must(client.DeleteBucket(ctx, &s3.DeleteBucketInput{Bucket: bucket}))
	fmt.Println("ok")
}
